"""The backward operations on CUDA tensors. No addition is atomic: results do not depend on timing."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linftui.ops.cuda import catalogue
from linftui.ops.cuda.catalogue import BACKWARD_ROWS, GROUP, THREADS, Kernel
from linftui.ops.cuda.choice import Method, choose_method, splits
from linftui.ops.cuda.launcher import Argument, Launcher, launcher_of
from linftui.ops.cuda.powers import Exponent, numbers_for
from linftui.ops.cuda.survivors import survivors_of

_WARPS_A_MULTIPROCESSOR = 16
_OVERHEAD = 20  # the time to read x and write its gradient, in steps


def norm_dist_backward(
    grad: Float[Tensor, "n m"],
    x: Float[Tensor, "n k"],
    weight: Float[Tensor, "m k"],
    y: Float[Tensor, "n m"],
    p: float | Exponent,
    method: Method | None = None,
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "m k"]]:
    """As in ops/reference.py. `p` may be an Exponent (for graphs); `method` overrides the choice by p.

    The pruned method leaves out terms below 1e-13 and below 2^-40 of the largest gradient.
    """
    grad, x, weight, y = (tensor.contiguous() for tensor in (grad, x, weight, y))
    if y.numel() == 0 or x.shape[1] == 0:
        return torch.zeros_like(x), torch.zeros_like(weight)
    work = _Backward(x, weight)
    number, form, numbers = numbers_for(p, x.device)
    rate = survivors_of(x.device).rates[1]
    if (method or choose_method(number, True, rate)) == "pruned":
        thresholds = work.packed(1)
        floor = x.new_empty(1)
        work.pack("thresholds", y, grad, numbers, grad.abs().amax(), thresholds, floor)
        counts = survivors_of(x.device).counts[1]
        return work.run(catalogue.gradient_scan(work.warps), (numbers, thresholds, floor), (counts,))
    pairs = work.packed(2)
    if not form.power:
        work.pack("pairs", y, grad, pairs)
        return work.run(catalogue.gradient(form, work.warps), (numbers, None, pairs, None))
    quotients = work.packed(1)
    unusual = torch.zeros(1, dtype=torch.int32, device=x.device)
    work.pack("whole", y, grad, numbers, quotients, pairs, unusual)
    return work.run(catalogue.gradient(form, work.warps), (numbers, quotients, pairs, unusual))


class _Backward:
    """Sizes, layout and launches that the finite-p kernels share (see columns.cuh)."""

    def __init__(self, x: Tensor, weight: Tensor) -> None:
        self.x, self.weight = x, weight
        self.n, self.k = x.shape
        self.m = weight.shape[0]
        self.launcher: Launcher = launcher_of(x.device)
        self.warps = 4 if self.n <= 4 * BACKWARD_ROWS else 8
        rows = self.warps * BACKWARD_ROWS
        self.padded_n = math.ceil(self.n / rows) * rows
        self.groups = math.ceil(self.m / GROUP)

    def packed(self, numbers: int) -> Tensor:
        """Room for this many numbers per output, in the kernels' layout."""
        return self.x.new_empty(self.groups, self.padded_n, numbers * GROUP)

    def pack(self, what: str, *arguments: Tensor) -> None:
        blocks = math.ceil(self.groups * GROUP * self.padded_n / THREADS)
        self.launcher(catalogue.pack(what), (blocks, 1, 1), *arguments, self.n, self.m, self.padded_n)

    def run(
        self, kernel: Kernel, before: tuple[Argument, ...], after: tuple[Argument, ...] = ()
    ) -> tuple[Tensor, Tensor]:
        """Both gradients; the splits of m are added in order."""
        columns = math.ceil(self.k / 32)
        capacity = self.launcher.multiprocessors * _WARPS_A_MULTIPROCESSOR // self.warps
        each = math.ceil(self.groups / splits(columns, self.groups, capacity, _OVERHEAD))
        parts = math.ceil(self.groups / each)
        to_x = self.x.new_empty(parts, self.n, self.k)
        to_weight = torch.empty_like(self.weight)
        sizes = (self.n, self.m, self.k, self.padded_n, each)
        self.launcher(
            kernel, (columns, parts, 1), self.x, self.weight, *before, to_x, to_weight, *after, *sizes
        )
        return to_x.sum(0) if parts > 1 else to_x[0], to_weight


def inf_dist_backward(
    grad: Float[Tensor, "n m"],
    x: Float[Tensor, "n k"],
    weight: Float[Tensor, "m k"],
    argmax: Int[Tensor, "n m"],
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "m k"]]:
    """As in ops/reference.py; each row adds up its outputs in order."""
    grad, x, weight, argmax = (tensor.contiguous() for tensor in (grad, x, weight, argmax))
    to_x, to_weight = torch.zeros_like(x), torch.zeros_like(weight)
    if argmax.numel():
        (n, k), m = x.shape, weight.shape[0]
        launcher, kernel = launcher_of(x.device), catalogue.scatter(k)
        launcher(kernel, (n, 1, 1), x, weight, grad, argmax, to_x, 0, n, m, k)
        launcher(kernel, (m, 1, 1), x, weight, grad, argmax, to_weight, 1, n, m, k)
    return to_x, to_weight
