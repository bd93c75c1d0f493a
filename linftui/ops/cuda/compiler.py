"""From CUDA C++ to machine code for one architecture, with NVRTC, once: the result is kept on disk.

The user needs no toolkit and no header, only the `cuda` extra and a driver. Several ranks may start at once:
each compiles what is missing and renames a finished file into place, so no rank ever reads half a file. The
folder must belong to the user alone (a cubin is a program); a damaged file is compiled again.
"""

import hashlib
import importlib
import io
import os
import stat
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from linftui.errors import DeviceError, UsageError
from linftui.files import open_regular
from linftui.ops.cuda.catalogue import Kernel
from linftui.user_folders import cache_folder

SOURCES = Path(__file__).parent / "kernels"
_DIGEST = hashlib.sha256().digest_size
_HINT = "pip install 'linftui[cuda]' with an NVIDIA driver for CUDA 13, or choose --devices cpu"


def cuda_module(name: str) -> Any:
    """A module of the `cuda` extra. Raises DeviceError with a hint where it is missing."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        raise DeviceError(f"the CUDA kernels cannot be used ({error})", _HINT) from error


def nvrtc_version() -> tuple[int, int]:
    """Version of the compiler library, which the `cuda` extra installs."""
    try:
        status, major, minor = cuda_module("cuda.bindings.nvrtc").nvrtcVersion()
    except RuntimeError as error:  # the bindings are there, the library is not
        raise DeviceError(f"the CUDA kernels cannot be compiled ({error})", _HINT) from error
    if int(status) != 0:
        raise DeviceError(f"the CUDA compiler library does not respond ({status})", _HINT)
    return major, minor


def driver_version() -> tuple[int, int]:
    """The newest CUDA that the installed driver runs."""
    try:
        status, version = cuda_module("cuda.bindings.driver").cuDriverGetVersion()
    except RuntimeError as error:  # there is no driver
        raise DeviceError(f"the NVIDIA driver does not respond ({error})", _HINT) from error
    if int(status) != 0:
        raise DeviceError(f"the NVIDIA driver does not respond ({status})", _HINT)
    return version // 1000, version % 1000 // 10


def compile_kernel(kernel: Kernel, arch: str) -> tuple[bytes, str]:
    """Machine code ("cubin") for an architecture such as sm_90, and the compiler's resource report.

    No contraction and no flush to zero anywhere: the kernels at p = inf are part of certificates. The others
    ask for fused multiply-adds by name.
    """
    core = cuda_module("cuda.core")
    options = core.ProgramOptions(
        name=kernel.source,
        arch=arch,
        std="c++17",
        fma=False,
        ftz=False,
        include_path=[str(SOURCES)],
        define_macro=[(name, str(value)) for name, value in kernel.defines] or None,
        ptxas_options=["-v"],
    )
    report = io.StringIO()
    program = core.Program((SOURCES / kernel.source).read_text(), "c++", options)
    return bytes(program.compile("cubin", logs=report).code), report.getvalue()


def cubin(kernel: Kernel, arch: str) -> bytes:
    """The machine code from the cache; it is compiled and kept if it is missing there, or damaged.

    Where nothing can be kept (no home, a full disk), every process compiles for itself, after a warning.
    """
    try:
        folder = kernels_folder()
    except DeviceError:  # a folder that cannot be trusted
        raise
    except (OSError, UsageError) as error:
        warnings.warn(f"compiled kernels cannot be kept: {error}", RuntimeWarning, stacklevel=2)
        return compile_kernel(kernel, arch)[0]
    path = folder / f"{_key(kernel, arch)}.cubin"
    try:
        with open_regular(path) as file:
            kept = file.read()
    except OSError:
        kept = b""
    digest, code = kept[:_DIGEST], kept[_DIGEST:]
    if code and hashlib.sha256(code).digest() == digest:
        return code
    code = compile_kernel(kernel, arch)[0]
    try:
        _keep(path, hashlib.sha256(code).digest() + code)
    except OSError as error:
        warnings.warn(f"compiled kernels cannot be kept: {error}", RuntimeWarning, stacklevel=2)
    return code


def _keep(path: Path, content: bytes) -> None:
    """Writes the file whole or not at all, whatever other processes write."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise


def kernels_folder() -> Path:
    """The user's folder of compiled kernels, made with mode 0700; LINFTUI_CACHE moves it."""
    folder = cache_folder() / "cubins"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.lstat()  # a link could lead into another folder of ours
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
        raise DeviceError(
            f"{folder} is a link, or belongs to or can be written by others, "
            "so programs in it cannot be trusted",
            "remove it, or name another folder in LINFTUI_CACHE",
        )
    return folder


def _key(kernel: Kernel, arch: str) -> str:
    source = (SOURCES / kernel.source).read_bytes()
    facts = repr((source, kernel.defines, arch, nvrtc_version(), _sources_digest()))
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


@cache
def _sources_digest() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())  # the options are in this file
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
