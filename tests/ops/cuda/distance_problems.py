"""Inputs and float64 answers that the CPU-executed and the GPU tests of the CUDA operations share."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from linftui.ops import reference
from linftui.ops.cuda.choice import Method

INF = math.inf
# One p in every form of the power (catalogue.FORMS), and the methods it can be computed by.
WHOLE = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
REAL = [1.5, 7.3, 8.5, 12.5, 15.9, 16.0, 20.0, 31.9, 37.3, 64.0, 100.0, 127.9, 300.0, 1000.0, 1e4]
METHODS: list[tuple[float, Method]] = [
    *((p, "dense") for p in WHOLE),
    *((p, "dense") for p in REAL),
    *((p, "pruned") for p in REAL if p > 16),
]
# One a form and method, where time is short.
FEW_METHODS: list[tuple[float, Method]] = [
    (1.0, "dense"), (2.0, "dense"), (3.0, "dense"), (8.0, "dense"), (1.5, "dense"), (8.5, "dense"),
    (15.9, "dense"), (37.3, "dense"), (100.0, "dense"), (20.0, "pruned"), (100.0, "pruned"), (1e4, "pruned"),
]  # fmt: skip
FORWARD_TOLERANCE = 5e-7


def forward_tolerance(p: float) -> float:
    """Relative error. Real p below 8 have the special functions' rounding and a root that forgives little."""
    return 1e-6 if p < 8 and p != int(p) else FORWARD_TOLERANCE


def backward_tolerance(p: float) -> float:
    """Largest error over the largest gradient: (|d| / y)^(p - 1) multiplies every rounding by p."""
    return 3e-5 if p <= 100 else 3e-7 * p


@dataclass(frozen=True)
class Problem:
    """x [n, k], weight [m, k], and a gradient of the output [n, m]."""

    x: Tensor
    weight: Tensor
    grad: Tensor

    def distances(self, p: float) -> Tensor:
        return reference.norm_dist_forward(self.x.double(), self.weight.double(), p)

    def gradients(self, p: float) -> tuple[Tensor, Tensor]:
        x, weight, grad = self.x.double(), self.weight.double(), self.grad.double()
        return reference.norm_dist_backward(grad, x, weight, self.distances(p), p)


def problem(n: int, m: int, k: int, scale: float = 1.0, device: str = "cpu") -> Problem:
    generator = torch.Generator().manual_seed(n + 1000 * m + 100_000 * k)
    x, weight, grad = (torch.randn(shape, generator=generator) for shape in ((n, k), (m, k), (n, m)))
    return Problem((scale * x).to(device), (scale * weight).to(device), (1e-3 * grad).to(device))


def relative_error(y: Tensor, expected: Tensor) -> float:
    return float((y.double() / expected - 1).abs().max())


def gradient_errors(got: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> list[float]:
    """Largest error over largest gradient, of x and of weight; infinite for a NaN, which max() may lose."""
    errors = [(a.double() - b).abs().max() / b.abs().max() for a, b in zip(got, expected, strict=True)]
    return [float(error.nan_to_num(INF)) for error in errors]


def spoilt(values: tuple[float, ...], k: int = 21) -> Problem:
    """Some rows with these values among ordinary ones, and a pair whose difference is inf - inf."""
    case = problem(7, 6, k)
    for i, value in enumerate(values):
        case.x[i, i] = value
        case.weight[i, (3 * i + 1) % k] = value
    case.x[5, 2] = case.weight[4, 2] = INF  # their difference is NaN
    return case
