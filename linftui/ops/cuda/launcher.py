"""Kernels on torch's current stream of one device.

A launcher is the one door from Python to a kernel; the tests put another behind it, which runs the same
sources on the CPU.
"""

import ctypes
from functools import cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from linftui.errors import DeviceError
from linftui.ops.cuda.catalogue import Kernel
from linftui.ops.cuda.compiler import cubin, cuda_module, nvrtc_version

Argument = Tensor | int | None
Grid = tuple[int, int, int]
_LEGACY_STREAM = 1  # CU_STREAM_LEGACY
_HINT = "update the driver to one for CUDA 13, or choose --devices cpu"


@runtime_checkable
class Launcher(Protocol):
    """Runs a kernel on tensors of one device."""

    multiprocessors: int

    def __call__(self, kernel: Kernel, grid: Grid, *arguments: Argument) -> None: ...


class CudaLauncher:
    """Compiles at first use, then launches; the machine code serves all devices of one architecture."""

    def __init__(self, device: torch.device) -> None:
        self._core = cuda_module("cuda.core")
        self._device = device
        properties = torch.cuda.get_device_properties(device)
        self._arch = f"sm_{properties.major}{properties.minor}"
        self.multiprocessors = properties.multi_processor_count
        self._kernels: dict[Kernel, Any] = {}
        try:
            with torch.cuda.device(device):
                self._core.Device(device.index).set_current()
        except Exception as error:  # cuda.core names its driver errors by a private class
            raise DeviceError(f"the NVIDIA driver refuses the kernels ({error})", _HINT) from error

    def __call__(self, kernel: Kernel, grid: Grid, *arguments: Argument) -> None:
        with torch.cuda.device(self._device):
            if kernel not in self._kernels:
                self._kernels[kernel] = self._load(kernel)
            config = self._core.LaunchConfig(grid=grid, block=kernel.threads, shmem_size=kernel.shared_bytes)
            stream = self._core.Stream.from_handle(_stream_handle(self._device))
            self._core.launch(stream, config, self._kernels[kernel], *map(_plain, arguments))

    def _load(self, kernel: Kernel) -> Any:
        driver = cuda_module("cuda.bindings.driver")
        loaded = self._core.ObjectCode.from_cubin(cubin(kernel, self._arch)).get_kernel(kernel.entry)
        if kernel.shared_bytes > 48 * 1024:  # more than every kernel may have must be asked for
            (status,) = driver.cuKernelSetAttribute(
                driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                kernel.shared_bytes,
                driver.CUkernel(int(loaded.handle)),
                driver.CUdevice(self._device.index),
            )
            if int(status) != 0:
                raise DeviceError(
                    f"{torch.cuda.get_device_name(self._device)} lacks the shared memory that {kernel.name}"
                    f" needs ({kernel.shared_bytes} bytes, {status})",
                    "choose --devices cpu",
                )
        return loaded


def _stream_handle(device: torch.device) -> int:
    """torch's current stream; the default one by the number it has as a handle, not as a null pointer."""
    handle: int = torch.cuda.current_stream(device).cuda_stream
    return handle or _LEGACY_STREAM


def _plain(argument: Argument) -> Any:
    """A pointer as an int, an int as 32 bits, nothing as a null pointer."""
    if isinstance(argument, Tensor):
        return argument.data_ptr()
    if isinstance(argument, int):
        return ctypes.c_int(argument)
    return 0


@cache
def _cuda_launcher(index: int) -> CudaLauncher:
    return CudaLauncher(torch.device("cuda", index))


def launcher_of(device: torch.device) -> Launcher:
    """The launcher of a CUDA device."""
    return _cuda_launcher(torch.cuda.current_device() if device.index is None else device.index)


def backend_name(device: torch.device) -> str:
    """For a run's metadata and its certificates: "cuda sm_90, NVRTC 13.5"."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"cuda sm_{major}{minor}, NVRTC {'.'.join(map(str, nvrtc_version()))}"
