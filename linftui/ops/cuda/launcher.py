"""Launching kernels on torch's current stream of one device.

A launcher is the only way from Python to a kernel; the tests substitute another one, which runs the same
sources on the CPU.
"""

import ctypes
from functools import cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from linftui.errors import DeviceError
from linftui.ops.cuda.catalogue import Kernel
from linftui.ops.cuda.compiler import cubin, cuda_module, driver_version, nvrtc_version
from linftui.ops.cuda.survivors import survivors_of

Argument = Tensor | int | None
Grid = tuple[int, int, int]
_LEGACY_STREAM = 1  # CU_STREAM_LEGACY
_OLDEST = 8, 0  # Ampere: the kernels copy to shared memory asynchronously


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
        self._arch = architecture(device)
        self.multiprocessors = torch.cuda.get_device_properties(device).multi_processor_count
        self._kernels: dict[Kernel, Any] = {}
        survivors_of(device)  # now, so that they do not become part of a captured graph

    def __call__(self, kernel: Kernel, grid: Grid, *arguments: Argument) -> None:
        with torch.cuda.device(self._device):
            # The guard does nothing where the device is already current, and a new thread, such as one of
            # autograd's, may have no context yet.
            self._core.Device(self._device.index).set_current()
            loaded = self._kernels.get(kernel) or self._kernels.setdefault(kernel, self._load(kernel))
            config = self._core.LaunchConfig(grid=grid, block=kernel.threads, shmem_size=kernel.shared_bytes)
            stream = self._core.Stream.from_handle(_stream_handle(self._device))
            self._core.launch(stream, config, loaded, *map(_plain, arguments))

    def _load(self, kernel: Kernel) -> Any:
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError(f"{kernel.name} is compiled at its first use: run it once before a capture")
        driver = cuda_module("cuda.bindings.driver")
        loaded = self._core.ObjectCode.from_cubin(cubin(kernel, self._arch)).get_kernel(kernel.entry)
        if kernel.shared_bytes > 48 * 1024:  # beyond the default limit, which must be raised
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
    """torch's current stream; the default one is 1 as a handle, not a null pointer."""
    handle: int = torch.cuda.current_stream(device).cuda_stream
    return handle or _LEGACY_STREAM


def _plain(argument: Argument) -> Any:
    """A tensor's pointer as an int, an int as 32 bits, None as a null pointer."""
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
    return f"cuda {architecture(device)}, NVRTC {'.'.join(map(str, nvrtc_version()))}"


def architecture(device: torch.device) -> str:
    """The architecture to compile for, such as "sm_90".

    Raises:
        DeviceError: the GPU or its driver is too old for the kernels, or their compiler is missing.
    """
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST:
        raise DeviceError(
            f"{torch.cuda.get_device_name(device)} (sm_{''.join(map(str, capability))}) is older than sm_80, "
            "for which the kernels are written",
            "choose --devices cpu",
        )
    theirs, ours = driver_version(), nvrtc_version()[0]
    if theirs[0] < ours:
        raise DeviceError(
            f"the NVIDIA driver is for CUDA {theirs[0]}.{theirs[1]}, the kernels need one for CUDA {ours}",
            "update the driver, or choose --devices cpu",
        )
    return f"sm_{''.join(map(str, capability))}"
