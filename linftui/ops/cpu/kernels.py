"""The functions of `linftui.ops.reference` on float32 tensors of a CPU, by the compiled kernels.

The kernels take finite numbers and distances that are not absurdly small. They notice anything else (a NaN,
an infinity, a distance between 0 and 2^-100), and then the definition computes the whole call. It also does
at a finite p beyond `GREATEST_P`, and where memory for the kernels' own use runs out.
"""

import math
from typing import Any

import torch
from torch import Tensor

from linftui.ops import reference
from linftui.ops.cpu.library import Library, PowerFit
from linftui.ops.cpu.powers import GREATEST_P, drop_below, near, power


class CpuKernels:
    """One variant of the library, with the definition's signatures and shapes.

    Args:
        library: the variant.
    """

    def __init__(self, library: Library) -> None:
        self.name = library.name
        self._functions = library.functions

    def _call(self, name: str, *arguments: Any, x: Tensor, weight: Tensor) -> bool:
        """Calls a kernel; false where it does not take the input. Tensors are passed as pointers."""
        plain = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
        sizes = (x.shape[0], weight.shape[0], x.shape[1])
        return not self._functions[name](*plain, *sizes, torch.get_num_threads())

    def norm_dist_forward(self, x: Tensor, weight: Tensor, p: float) -> Tensor:
        """y[n, m] = ||x_n - w_m||_p."""
        if _empty(x, weight) or GREATEST_P < p < math.inf:
            return reference.norm_dist_forward(x, weight, p)
        x, weight = x.contiguous(), weight.contiguous()
        y = x.new_empty(x.shape[0], weight.shape[0])
        if math.isinf(p):
            done = self._call("inf_forward", x, weight, y, x=x, weight=weight)
        else:
            fit = PowerFit.of(power(p), near(p))
            done = self._call("norm_forward", x, weight, y, fit, x=x, weight=weight)
        return y if done else reference.norm_dist_forward(x, weight, p)

    def norm_dist_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, y: Tensor, p: float
    ) -> tuple[Tensor, Tensor]:
        """Gradients to x and weight at finite p."""
        if _empty(x, weight) or p > GREATEST_P:
            return reference.norm_dist_backward(grad, x, weight, y, p)
        grad, x, weight, y = (tensor.contiguous() for tensor in (grad, x, weight, y))
        gradients = torch.empty_like(x), torch.empty_like(weight)
        fit, dropped = PowerFit.of(power(p - 1), 0.0), drop_below(p - 1)
        done = self._call(
            "norm_backward", grad, x, weight, y, *gradients, fit,
            None if dropped is None else dropped.ctypes.data, x=x, weight=weight,
        )  # fmt: skip
        return gradients if done else reference.norm_dist_backward(grad, x, weight, y, p)

    def inf_dist_argmax(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The distance at p = inf, and the first k where it is attained."""
        if _empty(x, weight):
            return reference.inf_dist_argmax(x, weight)
        x, weight = x.contiguous(), weight.contiguous()
        y = x.new_empty(x.shape[0], weight.shape[0])
        argmax = torch.empty(y.shape, dtype=torch.int64)
        done = self._call("inf_argmax", x, weight, y, argmax, x=x, weight=weight)
        return (y, argmax) if done else reference.inf_dist_argmax(x, weight)

    def inf_dist_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, argmax: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients at p = inf: the coordinate `argmax` names takes all of it."""
        if _empty(x, weight):
            return reference.inf_dist_backward(grad, x, weight, argmax)
        grad, x, weight, argmax = (tensor.contiguous() for tensor in (grad, x, weight, argmax))
        gradients = torch.empty_like(x), torch.empty_like(weight)
        self._call("inf_backward", grad, x, weight, argmax, *gradients, x=x, weight=weight)
        return gradients

    def inf_dist_bounds(
        self, lower: Tensor, upper: Tensor, weight: Tensor, outward: bool
    ) -> tuple[Tensor, Tensor]:
        """The interval image of the distance at p = inf."""
        if _empty(lower, weight):
            return reference.inf_dist_bounds(lower, upper, weight, outward)
        lower, upper, weight = (tensor.contiguous() for tensor in (lower, upper, weight))
        shape = lower.shape[0], weight.shape[0]
        bounds = lower.new_empty(shape), lower.new_empty(shape)
        done = self._call("bounds", lower, upper, weight, int(outward), *bounds, x=lower, weight=weight)
        return bounds if done else reference.inf_dist_bounds(lower, upper, weight, outward)


def _empty(x: Tensor, weight: Tensor) -> bool:
    return 0 in (*x.shape, weight.shape[0])
