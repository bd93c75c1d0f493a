"""Which implementation computes an operation: chosen by device and dtype, here and nowhere else.

float32 on a CPU goes to the compiled kernels where they were built and this processor can run them, on an
NVIDIA GPU to the CUDA kernels; everything else goes to the definition. Each choice has a name, which runs,
certificates and `linftui doctor` show.
"""

import warnings
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from linftui.ops import reference


@runtime_checkable
class Backend(Protocol):
    """The operations, with the signatures and the meaning of `linftui.ops.reference`."""

    def norm_dist_forward(self, x: Tensor, weight: Tensor, p: float) -> Tensor: ...
    def norm_dist_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, y: Tensor, p: float
    ) -> tuple[Tensor, Tensor]: ...
    def inf_dist_argmax(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]: ...
    def inf_dist_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, argmax: Tensor
    ) -> tuple[Tensor, Tensor]: ...
    def inf_dist_bounds(
        self, lower: Tensor, upper: Tensor, weight: Tensor, outward: bool
    ) -> tuple[Tensor, Tensor]: ...


def backend_for(x: Tensor) -> Backend:
    """The implementation for tensors like x."""
    if x.dtype == torch.float32:
        if x.device.type == "cpu":
            return _cpu()[0]
        if is_nvidia(x.device):
            return _cuda()
    return reference


def backend_name(device: torch.device | str = "cpu") -> str:
    """The implementation that float32 tensors on this device get, such as "cpu-avx512" or "reference".

    Raises:
        DeviceError: it is a GPU, and what its kernels need is not installed.
    """
    device = torch.device(device)
    if is_nvidia(device):
        from linftui.ops import cuda

        return cuda.backend_name(device)
    return _cpu()[1] if device.type == "cpu" else "reference"


def kernels_at(p: float, device: torch.device) -> str:
    """Which kernels a GPU uses at p from now on, by what they have met since the last call; "" on a CPU.

    It waits for the device, so call it once per epoch, not once per step.
    """
    if not is_nvidia(device):
        return ""
    from linftui.ops import cuda

    return cuda.describe(p, cuda.survivors_of(device).read())


def is_nvidia(device: torch.device) -> bool:
    """Whether it is an NVIDIA GPU; torch gives AMD's the same name."""
    return device.type == "cuda" and torch.version.hip is None


def _cuda() -> Backend:
    from linftui.ops import cuda  # only where there is a GPU: it is never needed elsewhere

    return cuda


@lru_cache(maxsize=1)
def _cpu() -> tuple[Backend, str]:
    from linftui.ops.cpu.library import library, load_library

    found = library()
    if found is None:
        why = load_library()[1] or "none of the CPU kernels that linftui was compiled with can run here"
        warnings.warn(
            f"{why}: plain PyTorch is used, correct but slow (install a C++ compiler and reinstall linftui)",
            RuntimeWarning,
            stacklevel=2,
        )
        return reference, "reference"
    from linftui.ops.cpu.kernels import CpuKernels

    kernels = CpuKernels(found)
    return kernels, kernels.name
