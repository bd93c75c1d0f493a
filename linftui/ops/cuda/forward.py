"""The forward operations on CUDA tensors: workspaces, grids, and the sequence of kernels.

Every forward is a kernel over all elements, perhaps split along K into blocks that each write a partial
result, and a last step (finish.cu) that joins the splits in order and handles special cases. Nothing depends
on timing.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linftui.ops.cuda import catalogue
from linftui.ops.cuda.catalogue import SLAB, THREADS
from linftui.ops.cuda.choice import Method, choose_method, splits
from linftui.ops.cuda.launcher import Launcher, launcher_of
from linftui.ops.cuda.powers import Exponent, numbers_for
from linftui.ops.cuda.survivors import survivors_of

_BLOCKS_A_MULTIPROCESSOR = 2
_OVERHEAD = 4  # the time to start and end a block, in slabs
_SEED_SLABS = 16


@dataclass(frozen=True)
class _Pass:
    """One kernel over all elements: its grid, and how K is split."""

    launcher: Launcher
    grid: tuple[int, int, int]
    splits: int
    slabs: int  # per split
    n: int
    m: int
    k: int

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.n, self.m, self.k, self.slabs

    def partial(self, like: Tensor, dtype: torch.dtype = torch.float32, results: int = 1) -> Tensor:
        return torch.empty(self.splits * results, self.n, self.m, dtype=dtype, device=like.device)

    def finish(self, what: str, *arguments: Tensor, outward: tuple[int, ...] = ()) -> None:
        grid = (math.ceil(self.n * self.m / THREADS), 1, 1)
        self.launcher(catalogue.finish(what), grid, *arguments, self.n, self.m, self.k, self.splits, *outward)


def _pass(x: Tensor, weight: Tensor, rows: int, columns: int) -> _Pass:
    """A pass in tiles of `rows` rows of x and `columns` of weight."""
    (n, k), m = x.shape, weight.shape[0]
    launcher = launcher_of(x.device)
    tiles = math.ceil(n / rows), math.ceil(m / columns)
    slabs = math.ceil(k / SLAB)
    capacity = launcher.multiprocessors * _BLOCKS_A_MULTIPROCESSOR
    parts = splits(tiles[0] * tiles[1], slabs, capacity, _OVERHEAD)
    each = math.ceil(slabs / parts)
    parts = math.ceil(slabs / each)
    return _Pass(launcher, (*tiles, parts), parts, each, n, m, k)


def rows_aligned(*tensors: Tensor) -> bool:
    """Whether every row starts at a multiple of 16 bytes."""
    return all(tensor.shape[1] % 4 == 0 and tensor.data_ptr() % 16 == 0 for tensor in tensors)


def norm_dist_forward(
    x: Float[Tensor, "n k"], weight: Float[Tensor, "m k"], p: float | Exponent, method: Method | None = None
) -> Float[Tensor, "n m"]:
    """As in ops/reference.py. `p` may be an Exponent (for graphs); `method` overrides the choice by p."""
    x, weight = x.contiguous(), weight.contiguous()
    if x.shape[0] == 0 or weight.shape[0] == 0 or x.shape[1] == 0:
        return x.new_zeros(x.shape[0], weight.shape[0])
    if not isinstance(p, Exponent) and math.isinf(p):
        return _maxima(x, weight, finished=True)
    launcher_of(x.device)  # now, so that what it allocates does not become part of a captured graph
    number, form, numbers = numbers_for(p, x.device)
    rate = survivors_of(x.device).rates[0]
    if (method or choose_method(number, False, rate)) == "pruned":
        return _pruned(x, weight, numbers)
    largest = None if form.power else _maxima(x, weight, finished=False)
    work = _pass(x, weight, 128, 64)
    partial, y = work.partial(x), x.new_empty(work.n, work.m)
    kernel = catalogue.power(rows_aligned(x, weight), form)
    work.launcher(kernel, work.grid, x, weight, largest, numbers, partial, *work.sizes)
    if largest is None:
        work.finish("whole_power", x, weight, numbers, partial, y)
    else:
        work.finish("scaled", x, weight, numbers, largest, partial, y)
    return y


def _maxima(x: Tensor, weight: Tensor, finished: bool) -> Tensor:
    """Distances at p = inf. Unfinished, they are NaN also where a row holds an infinity."""
    work = _pass(x, weight, 128, 128)
    partial = work.partial(x)
    kernel = catalogue.fold(rows_aligned(x, weight), bounds=False)
    work.launcher(kernel, work.grid, x, None, weight, partial, *work.sizes)
    if not finished and work.splits == 1:
        return partial[0]
    y = x.new_empty(work.n, work.m)
    work.finish("maxima", x, weight, partial, y)
    return y


def _seed(x: Tensor, weight: Tensor) -> Tensor:
    """The largest difference over the first coordinates, which pruning starts from."""
    work = _pass(x, weight, 128, 128)
    seed = x.new_empty(work.n, work.m)
    kernel = catalogue.fold(rows_aligned(x, weight), bounds=False)
    work.launcher(kernel, (*work.grid[:2], 1), x, None, weight, seed, work.n, work.m, work.k, _SEED_SLABS)
    return seed


def _pruned(x: Tensor, weight: Tensor, numbers: Tensor) -> Tensor:
    seed = _seed(x, weight)
    work = _pass(x, weight, 128, 64)
    partial, sums, counts = work.partial(x), work.partial(x), survivors_of(x.device).counts[0]
    kernel = catalogue.scan(rows_aligned(x, weight))
    work.launcher(kernel, work.grid, x, weight, numbers, seed, partial, sums, counts, *work.sizes)
    y = x.new_empty(work.n, work.m)
    work.finish("pruned", x, weight, numbers, partial, sums, y)
    return y


def inf_dist_argmax(
    x: Float[Tensor, "n k"], weight: Float[Tensor, "m k"]
) -> tuple[Float[Tensor, "n m"], Int[Tensor, "n m"]]:
    """As in ops/reference.py."""
    x, weight = x.contiguous(), weight.contiguous()
    y = x.new_empty(x.shape[0], weight.shape[0])
    argmax = torch.empty(y.shape, dtype=torch.int64, device=x.device)
    if y.numel():
        work = _pass(x, weight, 128, 64)
        partial, slabs = work.partial(x), work.partial(x, torch.int32)
        kernel = catalogue.argmax(rows_aligned(x, weight))
        work.launcher(kernel, work.grid, x, weight, partial, slabs, *work.sizes)
        work.finish("argmax", x, weight, partial, slabs, y, argmax)
    return y, argmax


def inf_dist_bounds(
    lower: Float[Tensor, "n k"], upper: Float[Tensor, "n k"], weight: Float[Tensor, "m k"], outward: bool
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """As in ops/reference.py, for boxes that are not empty (lower <= upper)."""
    lower, upper, weight = lower.contiguous(), upper.contiguous(), weight.contiguous()
    if lower.shape[0] == 0 or weight.shape[0] == 0 or lower.shape[1] == 0:
        zeros = lower.new_zeros(lower.shape[0], weight.shape[0])
        return zeros, zeros.clone()
    work = _pass(lower, weight, 64, 128)
    partial = work.partial(lower, results=2)
    kernel = catalogue.fold(rows_aligned(lower, upper, weight), bounds=True)
    work.launcher(kernel, work.grid, lower, upper, weight, partial, *work.sizes)
    low, high = (lower.new_empty(work.n, work.m) for _ in range(2))
    work.finish("bounds", lower, upper, weight, partial, low, high, outward=(int(outward),))
    return low, high
