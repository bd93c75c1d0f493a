"""A launcher that runs the CUDA sources on the CPU, for tests: g++ compiles them with the shim."""

import ctypes
import hashlib
import shutil
import struct
import subprocess
from pathlib import Path

import torch
from torch import Tensor

from linftui.ops.cuda.catalogue import Kernel
from linftui.ops.cuda.compiler import SOURCES
from linftui.ops.cuda.launcher import Argument, Grid

SHIM = Path(__file__).parent / "shim"
COMPILER = shutil.which("g++")
_SLOTS = 16
Launch = tuple[Kernel, Grid, tuple[Argument, ...]]


def build(kernel: Kernel, folder: Path, main: str, *options: str) -> Path:
    """The kernel compiled with `main` (library.cpp or replay.cpp), once a folder."""
    facts = repr((kernel.source, kernel.entry, kernel.defines, main, options))
    path = folder / f"{kernel.entry}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
    if not path.exists():
        defines = [f"-D{name}={value}" for name, value in kernel.defines]
        defines += [f'-DSOURCE="{kernel.source}"', f"-DENTRY={kernel.entry}"]
        shim = _compiled_shim(folder, options)
        _compile("-I", shim, "-I", SHIM, "-I", SOURCES, *defines, *options, SHIM / main, "-o", path)
    return path


def _compiled_shim(folder: Path, options: tuple[str, ...]) -> Path:
    """A folder with the shim's header already compiled under these options: most of the time goes there."""
    shim = folder / f"shim-{hashlib.sha256(repr(options).encode()).hexdigest()[:12]}"
    if not shim.exists():
        shim.mkdir()
        shutil.copy(SHIM / "intrinsics.cuh", shim)
        header = [option for option in options if option != "-shared"]
        _compile("-x", "c++-header", *header, shim / "intrinsics.cuh", "-o", shim / "intrinsics.cuh.gch")
    return shim


def _compile(*options: str | Path) -> None:
    common = ["-std=c++20", "-O1", "-w", "-ffp-contract=off", "-pthread"]
    done = subprocess.run([str(COMPILER), *common, *map(str, options)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class HostLauncher:
    """Runs kernels on CPU tensors; remembers every launch."""

    def __init__(self, folder: Path, multiprocessors: int = 1) -> None:
        self.folder = folder
        self.multiprocessors = multiprocessors
        self.launches: list[Launch] = []

    def __call__(self, kernel: Kernel, grid: Grid, *arguments: Argument) -> None:
        self.launches.append((kernel, grid, arguments))
        library = ctypes.CDLL(str(build(kernel, self.folder, "library.cpp", "-shared", "-fPIC")))
        slots = (ctypes.c_uint64 * _SLOTS)(*(slot_of(argument) for argument in arguments))
        library.run((ctypes.c_uint * 3)(*grid), kernel.threads, ctypes.c_size_t(kernel.shared_bytes), slots)


def slot_of(argument: Argument) -> int:
    if isinstance(argument, Tensor):
        assert argument.is_contiguous()
        return argument.data_ptr()
    return 0 if argument is None else argument


def record(path: Path, kernel: Kernel, grid: Grid, arguments: tuple[Argument, ...]) -> None:
    """A launch with the bytes of its arrays, for replay.cpp."""
    parts = [struct.pack("<6I", *grid, kernel.threads, kernel.shared_bytes, len(arguments))]
    for argument in arguments:
        if isinstance(argument, Tensor):
            data = argument.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            parts += [struct.pack("<q", len(data)), data]
        else:
            parts += [struct.pack("<qQ", -1, argument or 0)]
    path.write_bytes(b"".join(parts))
