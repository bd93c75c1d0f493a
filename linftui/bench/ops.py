"""How fast the distance core is, compared with its rivals and with what the machine can do.

Rivals: `torch.cdist`, and the definition in plain PyTorch. Ceiling: a subtraction and a maximum of absolute
values per element, on registers. All of them take turns in one run, since a machine's speed varies; only
ratios count.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from linftui.ops import inf_dist_bounds, norm_dist, reference
from linftui.ops.cpu.library import library

# Nothing that took longer than this is repeated.
PATIENCE_S = 3.0
FORWARD_P = [math.inf, 8.0, 12.5, 37.3, 1000.0]
BACKWARD_P = [math.inf, 8.0, 37.3, 1000.0]
# torch.cdist takes powers of differences as they are: at larger p they overflow.
CDIST_P = [math.inf, 8.0, 12.5, 37.3]


@dataclass(frozen=True)
class OpFigure:
    """One operation at one size: elements (of N x M x K) per second, and ratios of medians.

    `ceiling` is None without compiled kernels, a rival None where it has no such operation.
    """

    size: str
    op: str
    seconds: float
    elements_per_s: float
    ceiling: float | None  # this operation's speed as a share of the ceiling's
    cdist: float | None  # how many times as fast as torch.cdist
    reference: float | None  # how many times as fast as the definition


Job = Callable[[], object]


def measure(sizes: list[tuple[int, int, int]], repeats: int, say: Callable[[str], None]) -> list[OpFigure]:
    """Measures every operation at sizes (N, M, K); `say` is called with what is being done."""
    figures = []
    for n, m, k in sizes:
        size = f"{n}x{m}x{k}"
        say(f"{size}, warming up")
        for job in _jobs(min(n, 32), min(m, 32), min(k, 32)).values():
            job()  # threads start, libraries load, powers are fitted
        jobs = _jobs(n, m, k)
        times: dict[tuple[str, str], list[float]] = {key: [] for key in jobs}
        for turn in range(repeats):
            say(f"{size}, turn {turn + 1} of {repeats}")
            for key, job in jobs.items():
                if times[key] and times[key][0] > PATIENCE_S:
                    continue
                started = time.perf_counter()
                job()
                times[key].append(time.perf_counter() - started)
        medians = {key: statistics.median(seconds) for key, seconds in times.items()}
        figures += _figures(size, n * m * k, medians)
    return figures


def _figures(size: str, elements: int, medians: dict[tuple[str, str], float]) -> list[OpFigure]:
    def ratio(rival: tuple[str, str], seconds: float) -> float | None:
        return medians[rival] / seconds if rival in medians else None

    return [
        OpFigure(
            size=size,
            op=op,
            seconds=seconds,
            elements_per_s=elements / seconds,
            ceiling=ratio(("ceiling", ""), seconds),
            cdist=ratio(("cdist", op), seconds),
            reference=ratio(("reference", op), seconds),
        )
        for (who, op), seconds in medians.items()
        if who in ("linftui", "ceiling")
    ]


def _jobs(n: int, m: int, k: int) -> dict[tuple[str, str], Job]:
    """The functions to time, by implementation and operation; rivals right after ours."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(n, k, generator=generator), torch.randn(m, k, generator=generator)
    grad, upper = torch.randn(n, m, generator=generator), x + 0.1
    jobs: dict[tuple[str, str], Job] = {}
    found = library()
    if found is not None:
        jobs["ceiling", ""] = partial(found.functions["ceiling"], n * m * k, torch.get_num_threads())
    for p in FORWARD_P:
        op = f"p = {p:g}, forward"
        jobs["linftui", op] = partial(norm_dist, x, weight, p)
        if p in CDIST_P:
            jobs["cdist", op] = partial(torch.cdist, x, weight, p)
        jobs["reference", op] = partial(reference.norm_dist_forward, x, weight, p)
    jobs["linftui", "interval bounds"] = partial(inf_dist_bounds, x, upper, weight)
    jobs["reference", "interval bounds"] = partial(reference.inf_dist_bounds, x, upper, weight, True)
    for p in BACKWARD_P:
        op = f"p = {p:g}, forward and backward"
        jobs["linftui", op] = partial(_with_gradient, norm_dist, x, weight, grad, p)
        if p in CDIST_P:
            jobs["cdist", op] = partial(_with_gradient, torch.cdist, x, weight, grad, p)
        jobs["reference", op] = partial(_reference_with_gradient, x, weight, grad, p)
    return jobs


def _with_gradient(
    distance: Callable[[Tensor, Tensor, float], Tensor], x: Tensor, weight: Tensor, grad: Tensor, p: float
) -> tuple[Tensor, ...]:
    a, b = x.detach().requires_grad_(), weight.detach().requires_grad_()
    return torch.autograd.grad(distance(a, b, p), (a, b), grad)


def _reference_with_gradient(x: Tensor, weight: Tensor, grad: Tensor, p: float) -> object:
    if math.isinf(p):
        return reference.inf_dist_backward(grad, x, weight, reference.inf_dist_argmax(x, weight)[1])
    y = reference.norm_dist_forward(x, weight, p)
    return reference.norm_dist_backward(grad, x, weight, y, p)
