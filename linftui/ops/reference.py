"""The distance operation in plain PyTorch: the definition that every faster kernel is measured against.

For x [N, K] and weight [M, K] every triple (n, m, k) is an *element*; they carry the whole cost. The
functions walk over x in chunks of rows, so that no temporary tensor holds more than about `CHUNK` elements.

Definition at finite p, with d = x_n - w_m and s = max |d|:  y = s * (sum (|d| / s)^p)^(1/p), which neither
overflows nor underflows for p in [1, 1e4] at any scale of the data. At p = inf: y = s exactly, with no
rounding after the subtraction. A NaN in a row of x or weight makes that row's outputs NaN; an infinite
difference gives an infinite distance (and no gradient).
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Small enough for a core's share of the cache and a laptop's memory, large enough to hide Python's overhead.
CHUNK = 1 << 18


def _chunks(n: int, elements_per_row: int) -> Iterator[slice]:
    rows = max(1, CHUNK // max(1, elements_per_row))
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def _differences(x: Tensor, weight: Tensor) -> Tensor:
    return x[:, None, :] - weight


def norm_dist_forward(
    x: Float[Tensor, "n k"], weight: Float[Tensor, "m k"], p: float
) -> Float[Tensor, "n m"]:
    """y[n, m] = ||x_n - w_m||_p, for p >= 1 or infinite. K = 0 gives zeros."""
    y = x.new_zeros(x.shape[0], weight.shape[0])
    if x.shape[1] == 0:
        return y
    for rows in _chunks(x.shape[0], weight.numel()):
        d = _differences(x[rows], weight).abs_()
        largest = d.amax(-1)
        if math.isinf(p):
            y[rows] = largest
        else:
            scale = torch.where(largest > 0, largest, 1)  # 0 / 1 where x == w
            total = d.div_(scale[..., None]).pow_(p).sum(-1).pow_(1 / p).mul_(largest)
            y[rows] = torch.where(largest.isinf(), largest, total)
    return y


def norm_dist_backward(
    grad: Float[Tensor, "n m"],
    x: Float[Tensor, "n k"],
    weight: Float[Tensor, "m k"],
    y: Float[Tensor, "n m"],
    p: float,
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "m k"]]:
    """Gradients to x and weight at finite p: dy/dx_k = sign(d_k) (|d_k| / y)^(p - 1), and dy/dw = -dy/dx.

    Where y is 0 or infinite every gradient is exactly 0; where y is NaN it is NaN.
    """
    grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
    flat = (y == 0) | y.isinf()
    grad = torch.where(y.isnan(), y, grad)  # at p = 1 even the power of a NaN is 1
    for rows in _chunks(x.shape[0], weight.numel()):
        d = _differences(x[rows], weight)
        terms = d.abs().div_(y[rows, :, None]).pow_(p - 1).mul_(d.sign_()).mul_(grad[rows, :, None])
        terms.masked_fill_(flat[rows, :, None], 0)
        grad_x[rows] = terms.sum(1)
        grad_weight -= terms.sum(0)
    return grad_x, grad_weight


def inf_dist_argmax(
    x: Float[Tensor, "n k"], weight: Float[Tensor, "m k"]
) -> tuple[Float[Tensor, "n m"], Int[Tensor, "n m"]]:
    """The distance at p = inf, and the first k where it is attained (int64). Needs K >= 1."""
    y = x.new_empty(x.shape[0], weight.shape[0])
    argmax = torch.empty(y.shape, dtype=torch.int64, device=x.device)
    for rows in _chunks(x.shape[0], weight.numel()):
        y[rows], argmax[rows] = _differences(x[rows], weight).abs_().max(-1)
    return y, argmax


def inf_dist_backward(
    grad: Float[Tensor, "n m"],
    x: Float[Tensor, "n k"],
    weight: Float[Tensor, "m k"],
    argmax: Int[Tensor, "n m"],
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "m k"]]:
    """Gradients at p = inf: the coordinate `argmax` names takes all of it; none if y is 0 or not finite."""
    d = x.gather(1, argmax) - weight.gather(1, argmax.T).T
    flow = torch.where(d.isfinite(), d.sign() * grad, 0)
    # On a CPU each row is summed in order by one thread, so the result does not depend on how many there are.
    grad_x = torch.zeros_like(x).scatter_add_(1, argmax, flow)
    grad_weight = torch.zeros_like(weight).scatter_add_(1, argmax.T, -flow.T)
    return grad_x, grad_weight


def inf_dist_bounds(
    lower: Float[Tensor, "n k"], upper: Float[Tensor, "n k"], weight: Float[Tensor, "m k"], outward: bool
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """The interval image of the distance at p = inf over the boxes [lower_n, upper_n].

    It does the same float subtractions as the forward, so the interval encloses the executed distance of
    every float point of the box (rounding is monotone). With `outward` each end also moves one ulp outward,
    so that the exact distance of every real point is enclosed too: rounding to nearest errs by less than an
    ulp, and stepping to the next float commutes with max.
    """
    low, high = (lower.new_zeros(lower.shape[0], weight.shape[0]) for _ in range(2))
    if lower.shape[1] == 0:
        return low, high
    for rows in _chunks(lower.shape[0], weight.numel()):
        above = _differences(lower[rows], weight)  # L - w: positive where the box lies above w
        below = weight - upper[rows, None, :]  # w - U: positive where it lies below
        low[rows] = torch.maximum(above, below).amax(-1)
        high[rows] = -torch.minimum(above, below).amin(-1)  # max(U - w, w - L); negation is exact
    if outward:
        low = next_down(low)
        high = next_up(high)
    return low.clamp_(min=0), high


def next_up(x: Tensor) -> Tensor:
    """The next float towards +inf of every entry."""
    return torch.nextafter(x, torch.full_like(x, torch.inf))


def next_down(x: Tensor) -> Tensor:
    """The next float towards -inf of every entry."""
    return torch.nextafter(x, torch.full_like(x, -torch.inf))
