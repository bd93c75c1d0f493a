"""How the CPU kernels compute r^q for a ratio 0 <= r <= 1, decided here on the host for each q.

- A whole q up to 8: by multiplication.
- q >= 11.5: r^q = P(z)^(2^k) with z = c (1 - r) and c = q / 2^k in [2, 4). P approximates (1 - z / c)^c, a
  function so smooth that degree 6, 5, 4 or 3 suffices as q grows; squaring it k times costs k multiplications
  and neither a logarithm nor an exponential. P is fitted here in float64 and its error measured before use.
- Any other q, or one whose fit has too large an error: by logarithm and exponential.

The training schedule moves p at every step, so a fit must take well under a millisecond.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

GREATEST_P = 1e4  # above, a float32 power is too inexact: the definition computes it
MOST_WHOLE = 8
LEAST_SQUARED = 11.5
# From here on most vectors of columns hold no term that counts, so that checking first pays; measured.
LEAST_CHECKING_FORWARD, LEAST_CHECKING_BACKWARD = 200.0, 200.0
# A term of a sum may be left out below 2^-30 of the largest: 5,000 of them move the distance by 5e-6 / p.
NEAR_BITS = 30.0
# P follows r^q down to 2^-44; below, a gradient's power is 0.
FITTED_BITS = 44.0
# So a term of a gradient is left out below 2^-44 of |grad|; where checking pays, also below 1e-13, which
# Adam's eps of 1e-10 hides. As long as |grad| <= 1, nothing above 1e-13 is left out.
DROP_ABSOLUTE = 1e-13
# The width of the largest net: a sum may have this many equal small terms beside one of 1.
MANY = 5120
# Limits on the error of P^(2^k) where r^q > 2^-30: as it shows in the root of such a sum, and relative to
# r^q.
MOST_ERROR_OF_ROOT, MOST_ERROR = 3.5e-7, 2e-2


@dataclass(frozen=True)
class Power:
    """How to compute r^q; the last three belong to "squared" alone."""

    q: float
    kind: Literal["logarithmic", "whole", "squared"]
    squarings: int = 0
    z_max: float = 0.0
    coefficients: tuple[float, ...] = ()  # the constant first

    @property
    def c(self) -> float:
        """q over two to the number of squarings."""
        return self.q / (1 << self.squarings)


@lru_cache(maxsize=64)
def power(q: float) -> Power:
    """How to compute r^q, q >= 0."""
    if q <= MOST_WHOLE and q.is_integer():
        return Power(q, "whole")
    if q >= LEAST_SQUARED:
        fitted = fit_power(q)
        of_root, greatest = measured_error(fitted)
        if of_root <= MOST_ERROR_OF_ROOT and greatest <= MOST_ERROR:
            return fitted
    return Power(q, "logarithmic")


def _share(bits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of a sum that `MANY` terms of 2^-bits have beside one of 1."""
    return 1 / (1 + np.exp2(bits) / MANY)


# Places to fit at, as bits s of r^q = 2^-s, dense at both ends. An error is weighted by the share of such
# terms, raised to a power below 1 so that the small terms of a gradient count too.
_FIT_BITS = FITTED_BITS * (1 - np.cos(np.pi * (np.arange(48) + 0.5) / 48)) / 2
_FIT_WEIGHTS = _share(_FIT_BITS) ** 0.7
_CHECK_BITS = np.linspace(0, 30, 121)
_CHECK_SHARES = _share(_CHECK_BITS)


def fit_power(q: float) -> Power:
    """The polynomial for q >= 11, by weighted least squares of the relative error of P."""
    squarings = int(math.log2(q)) - 1
    degree = max(3, 8 - squarings)
    c = q / 2**squarings
    root = np.exp2(-_FIT_BITS / 2**squarings)
    z = c * (1 - np.exp2(-_FIT_BITS / q))
    system = np.vander(z, degree + 1, increasing=True) * (_FIT_WEIGHTS / root)[:, None]
    coefficients, *_ = np.linalg.lstsq(system, _FIT_WEIGHTS)
    z_max = c * (1 - 2 ** (-FITTED_BITS / q))
    return Power(q, "squared", squarings, z_max, tuple(coefficients.tolist()))


def measured_error(fitted: Power) -> tuple[float, float]:
    """The error of a root with many equal terms, and the largest relative error of a power; in float32."""
    c = np.float32(fitted.c)
    z = (c - float(c) * np.exp2(-_CHECK_BITS / fitted.q)).astype(np.float32)
    value = np.zeros_like(z)
    for coefficient in np.array(fitted.coefficients[::-1], np.float32):
        value = value * z + coefficient
    for _ in range(fitted.squarings):
        value = value * value
    relative = np.abs(value * np.exp2(_CHECK_BITS) - 1)
    return float((relative * _CHECK_SHARES).max()) / fitted.q, float(relative.max())


def near(p: float) -> float:
    """In a forward: the ratio below which a term adds nothing; 0 where checking does not pay."""
    return 2 ** (-NEAR_BITS / p) if p >= LEAST_CHECKING_FORWARD else 0.0


@lru_cache(maxsize=8)
def drop_below(q: float) -> NDArray[np.float32] | None:
    """In a backward: by the exponent bits of |grad|, the ratio below which |grad| r^q is dropped; or None.

    Every term is dropped where the gradient is 0, and none where it is an infinity or a NaN.
    """
    if q < LEAST_CHECKING_BACKWARD:
        return None
    greatest = np.arange(256) - 126  # |grad| is below two to this power
    bits = np.minimum(greatest - math.log2(DROP_ABSOLUTE), FITTED_BITS)
    ratios: NDArray[np.float32] = np.exp2(-bits / q).astype(np.float32)
    ratios[0], ratios[255] = np.inf, -1
    return ratios
