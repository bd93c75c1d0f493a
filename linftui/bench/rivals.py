"""The rivals of the distance core on a GPU: torch.cdist, compiled plain PyTorch, or any module.

A rival has the operators' own signatures, so that one loop times all of them and ours.
"""

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from linftui.errors import UsageError

Forward = Callable[[Tensor, Tensor, float], Tensor]
Backward = Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Rival:
    """Another implementation of the distance.

    Attributes:
        name: as tables show it.
        forward: forward(x [N, K], weight [M, K], p) -> y [N, M].
        backward: backward(grad [N, M], x, weight, y, p) -> gradients to x and weight; None where it has none.
        powers: the values of p at which it is correct; None: every p.
    """

    name: str
    forward: Forward
    backward: Backward | None = None
    powers: tuple[float, ...] | None = None


# Beyond these p, N(0, 1) data overflows its powers. Its backward keeps N x M x K floats.
CDIST = Rival("torch.cdist", torch.cdist, powers=(8.0, 37.3, math.inf))


def compiled_broadcast() -> Rival:
    """The three lines that a user would write, compiled by torch."""

    def finite(x: Tensor, weight: Tensor, p: Tensor) -> Tensor:
        difference = (x[:, None] - weight).abs()
        largest = difference.amax(-1, keepdim=True)
        return (largest * (difference / largest).pow(p).sum(-1, keepdim=True).pow(1 / p)).squeeze(-1)

    def infinite(x: Tensor, weight: Tensor) -> Tensor:
        return (x[:, None] - weight).abs().amax(-1)

    finite, infinite = torch.compile(finite), torch.compile(infinite)

    def forward(x: Tensor, weight: Tensor, p: float) -> Tensor:
        return infinite(x, weight) if math.isinf(p) else finite(x, weight, torch.tensor(p, device=x.device))

    return Rival("torch.compile", forward)


def load_rival(file: Path) -> Rival:
    """A module's `forward` and, where it has one, `backward`; the file is executed.

    Raises:
        UsageError: there is no such file, it does not import, or it has no `forward`.
    """
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"{file} is not a Python file", "name one that has forward(x, weight, p)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a stranger's module raises
        raise UsageError(f"{file} cannot be imported ({type(error).__name__}: {error})") from error
    if not callable(getattr(module, "forward", None)):
        raise UsageError(f"{file} has no forward(x, weight, p)", "see linftui/bench/rivals.py")
    return Rival(file.stem, module.forward, getattr(module, "backward", None))
