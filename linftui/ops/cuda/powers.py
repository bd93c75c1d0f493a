"""p on the device: the few numbers the kernels read, and the polynomial that stands in for a power.

The special-function units give 16 results a clock where the ordinary ones give 128, so half of the powers are
computed as r^p = P(1 - r)^(2^k): P is a polynomial of low degree, fitted here in float64 to r^c with
c = p / 2^k, and k squarings do the rest. The numbers lie in one small tensor: a captured CUDA graph follows p
when they are overwritten, as long as the form (powers, degree, squarings) stays the same.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from linftui.ops.cuda.catalogue import WHOLE_POWERS, Form

_BLOCK = 16  # floats for one exponent: itself, then up to ten coefficients (powers.cuh)
_LENGTH = 2 + 2 * _BLOCK
_NODES = 96


def form_of(p: float) -> Form:
    """How powers are computed at this p; constant over ranges of p, so that graphs live long.

    c = p / 2^k stays in [4, 8) below 16 and in [2, 4) above, where the stated degrees reach float32's own
    rounding. Below 8 the derivative of r^c at 0 is too rough for a polynomial; from 128 on pruning wins.
    """
    if p in WHOLE_POWERS:
        return Form(power=int(p))
    if p < 8 or p >= 128:
        return Form()
    if p < 16:
        return Form(degree=9, squarings=1)
    return Form(degree=6, squarings=int(math.log2(p)) - 1)


class Exponent:
    """p for kernels on one device.

    Args:
        p: finite, >= 1.
        device: where the kernels run.
    """

    def __init__(self, p: float, device: torch.device) -> None:
        self.p = p
        self.form = form_of(p)
        self.numbers = _on(device, numbers_of(p, self.form))

    def update(self, p: float) -> None:
        """Another p in place, for graphs captured with this object; its form must be the same."""
        if form_of(p) != self.form:
            raise ValueError(f"p = {p} needs {form_of(p).name}, this graph has {self.form.name}")
        self.p = p
        self.numbers.copy_(_on(self.numbers.device, numbers_of(p, self.form)))


@lru_cache(maxsize=64)
def exponent_of(p: float, device: torch.device, stream: int) -> Exponent:
    """The exponent of a plain number, kept for the other layers and the backward of a step.

    One a stream: its numbers are copied to the device, and freed, in that stream's order.
    """
    return Exponent(p, device)


def _on(device: torch.device, numbers: list[float]) -> Tensor:
    """Without waiting for the device: p changes every step while a net trains."""
    here = torch.tensor(numbers, dtype=torch.float32)
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here


def numbers_of(p: float, form: Form) -> list[float]:
    """p, 1 / p, the block of p (forward) and that of p - 1 (backward)."""
    numbers = [p, 1 / p] + [0.0] * (_LENGTH - 2)
    for start, exponent in ((2, p), (2 + _BLOCK, p - 1)):
        numbers[start] = exponent
        if form.degree:
            coefficients = fit(exponent / 2**form.squarings, form)
            numbers[start + 1 : start + 2 + form.degree] = coefficients.tolist()
    return numbers


def fit(c: float, form: Form) -> np.ndarray:
    """Coefficients, lowest first, of P with P(1 - r)^(2^k) ~ r^(c 2^k) on [0, 1].

    Iteratively reweighted least squares towards the smallest of the largest errors, each error measured by
    what the k squarings make of it: the power must be right to 2^-23 of itself or to 2^-36 (of the largest).
    """
    z = (1 - np.cos(np.linspace(0, np.pi, _NODES))) / 2
    r = 1 - z
    repeats = 2**form.squarings
    allowed = allowed_error(r, c * repeats)
    with np.errstate(divide="ignore", over="ignore"):
        # d(P^repeats) = repeats r^(c (repeats - 1)) dP, and near r = 0 the error's own power.
        slack = np.minimum(allowed / (repeats * r ** (c * (repeats - 1))), allowed ** (1 / repeats) / 2)
    basis = np.polynomial.chebyshev.chebvander(2 * z - 1, form.degree)
    weights = np.full(_NODES, 1 / _NODES)
    best, least = np.zeros(form.degree + 1), math.inf
    for _ in range(15):
        scale = np.sqrt(weights) / slack
        solution = np.linalg.lstsq(basis * scale[:, None], r**c * scale, rcond=None)[0]
        errors = np.abs(basis @ solution - r**c) / slack
        if errors.max() < least:
            best, least = solution, errors.max()
        weights *= errors + 1e-3 * errors.max()
        weights /= weights.sum()
    series = np.polynomial.Chebyshev(best, domain=[0, 1])
    coefficients = series.convert(kind=np.polynomial.Polynomial).coef
    return np.pad(coefficients, (0, form.degree + 1 - len(coefficients)))


def allowed_error(r: np.ndarray, p: float) -> np.ndarray:
    """What a power r^p may be off by: float32's rounding of it, or what K = 5120 of them cannot add up to."""
    return 2.0**-23 * r**p + 2.0**-36


def numbers_for(p: "float | Exponent", device: torch.device) -> tuple[float, Form, Tensor]:
    """The number, form and device numbers of p given either way."""
    if not isinstance(p, Exponent):
        stream = 0
        if device.type == "cuda":
            if torch.cuda.is_current_stream_capturing():
                raise RuntimeError("a graph that is captured needs p as an Exponent: it follows its updates")
            stream = torch.cuda.current_stream(device).cuda_stream
        p = exponent_of(p, device, stream)
    return p.p, p.form, p.numbers
