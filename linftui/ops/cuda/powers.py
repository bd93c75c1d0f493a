"""p on the device: the few numbers that the kernels read, and the polynomial that replaces a power.

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

from linftui.ops.cuda.catalogue import WHOLE_POWERS, PowerForm

_BLOCK = 16  # floats for one exponent: itself, then up to ten coefficients (powers.cuh)
_LENGTH = 2 + 2 * _BLOCK
_NODES = 96


def form_of(p: float) -> PowerForm:
    """How powers are computed at this p; constant over ranges of p, so that a captured graph lasts.

    c = p / 2^k stays in [4, 8) below 16 and in [2, 4) above, where these degrees are as exact as float32.
    Below 8 the derivative of r^c at 0 is not smooth enough for a polynomial; from 128 on pruning is faster.
    """
    if p in WHOLE_POWERS:
        return PowerForm(power=int(p))
    if p < 8 or p >= 128:
        return PowerForm()
    if p < 16:
        return PowerForm(degree=9, squarings=1)
    return PowerForm(degree=6, squarings=int(math.log2(p)) - 1)


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
        """Replaces p in place, for graphs captured with this object; the form must stay the same."""
        if form_of(p) != self.form:
            raise ValueError(f"p = {p} needs {form_of(p).name}, this graph has {self.form.name}")
        self.p = p
        self.numbers.copy_(_on(self.numbers.device, numbers_of(p, self.form)))


@lru_cache(maxsize=64)
def exponent_of(p: float, device: torch.device, stream: int) -> Exponent:
    """The exponent of a plain number, kept for the other layers and the backward of a step.

    There is one per stream: its numbers are copied to the device, and freed, in that stream's order.
    """
    return Exponent(p, device)


def _on(device: torch.device, numbers: list[float]) -> Tensor:
    """The numbers on the device, without waiting for it: p changes at every step of a training."""
    here = torch.tensor(numbers, dtype=torch.float32)
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here


def numbers_of(p: float, form: PowerForm) -> list[float]:
    """p, 1 / p, the block of p (forward) and that of p - 1 (backward)."""
    numbers = [p, 1 / p] + [0.0] * (_LENGTH - 2)
    for start, exponent in ((2, p), (2 + _BLOCK, p - 1)):
        numbers[start] = exponent
        if form.degree:
            coefficients = fit_polynomial(exponent / 2**form.squarings, form)
            numbers[start + 1 : start + 2 + form.degree] = coefficients.tolist()
    return numbers


def fit_polynomial(c: float, form: PowerForm) -> np.ndarray:
    """Coefficients, lowest first, of P with P(1 - r)^(2^k) ~ r^(c 2^k) on [0, 1].

    Iteratively reweighted least squares that minimise the largest error. An error is measured after the k
    squarings: the power must be right to 2^-23 of itself or to 2^-36 (of the largest).
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
    """The error that a power r^p may have: float32's rounding, or too little for K = 5120 of them to show."""
    return 2.0**-23 * r**p + 2.0**-36


def numbers_for(p: "float | Exponent", device: torch.device) -> tuple[float, PowerForm, Tensor]:
    """The number, form and device numbers of p, given either way."""
    if not isinstance(p, Exponent):
        stream = 0
        if device.type == "cuda":
            if torch.cuda.is_current_stream_capturing():
                raise RuntimeError("a captured graph needs p as an Exponent, whose updates it follows")
            stream = torch.cuda.current_stream(device).cuda_stream
        p = exponent_of(p, device, stream)
    return p.p, p.form, p.numbers
