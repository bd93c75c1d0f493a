"""Which implementation computes an operation: chosen by device and dtype, here and nowhere else.

float32 on a CPU goes to the compiled kernels where they were built and this processor can run them;
everything else goes to the definition. What was chosen has a name, which runs, certificates and
`linftui doctor` show.
"""

import warnings
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from linftui.ops import reference

SLOW = "linftui was installed without its compiled CPU kernels"


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
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return _cpu()[0]
    return reference


def backend_name(device: torch.device | str = "cpu") -> str:
    """The implementation that float32 tensors on this device get: "cpu-avx512", say, or "reference"."""
    return _cpu()[1] if torch.device(device).type == "cpu" else "reference"


@lru_cache(maxsize=1)
def _cpu() -> tuple[Backend, str]:
    from linftui.ops.cpu.library import library

    found = library()
    if found is None:
        warnings.warn(
            f"{SLOW}: plain PyTorch is used, correct and slow (install a C++ compiler and reinstall linftui)",
            RuntimeWarning,
            stacklevel=2,
        )
        return reference, "reference"
    from linftui.ops.cpu.kernels import CpuKernels

    kernels = CpuKernels(found)
    return kernels, kernels.name
