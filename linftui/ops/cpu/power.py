"""How the CPU kernels compute r^q for a ratio 0 <= r <= 1, decided here on the host for each q.

- A whole q for which the kernels have products: by products.
- q >= 11.5: r^q = P(z)^(2^k) with z = c (1 - r) and c = q / 2^k in [2, 4). P approximates (1 - z / c)^c, a
  function so smooth that degree 6, 5, 4 or 3 suffices as q grows; squaring it k times costs k multiplications
  and neither a logarithm nor an exponential. P is fitted here in float64 and its error measured before use.
- Anything else, and a fit that measures badly: by logarithm and exponential.

The training schedule moves p at every step, so a fit must take well under a millisecond.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

WHOLE = frozenset({0, 1, 2, 3, 4, 7, 8})  # exponents that the kernels know as products
LEAST_SQUARED = 11.5
# From here on most vectors of columns hold no term that counts, so that looking first pays; measured.
LEAST_LOOKING_FORWARD, LEAST_LOOKING_BACKWARD = 200.0, 200.0
# A term of a sum may be left out below 2^-30 of the largest: 5,000 of them move the distance by 5e-6 / p.
NEAR_BITS = 30.0
# A term of a gradient may be left out below 1e-13, which Adam's eps of 1e-10 hides, or 2^-60 of |grad|.
DROP_ABSOLUTE, DROP_BITS = 1e-13, 60.0
# P follows r^q down to 2^-44; from there on the power stays what it is.
FITTED_BITS = 44.0
# Limits of the error of P^(2^k), relative to r^q where r^q > 2^-10 and > 2^-30.
MOST_ERROR_NEAR_1, MOST_ERROR_BELOW = 2.5e-5, 2e-2


@dataclass(frozen=True)
class Power:
    """How to compute r^q; the last three belong to "squared" alone."""

    q: float
    kind: Literal["logarithmic", "whole", "squared"]
    squarings: int = 0
    z_max: float = 0.0
    coefficients: tuple[float, ...] = ()  # from the constant on

    @property
    def c(self) -> float:
        """q over two to the number of squarings."""
        return self.q / (1 << self.squarings)


@lru_cache(maxsize=64)
def power(q: float) -> Power:
    """How to compute r^q, q >= 0."""
    if q in WHOLE:
        return Power(q, "whole")
    if q >= LEAST_SQUARED:
        fitted = fit(q)
        near_1, below = error(fitted)
        if near_1 <= MOST_ERROR_NEAR_1 and below <= MOST_ERROR_BELOW:
            return fitted
    return Power(q, "logarithmic")


# Places to fit at, as bits s of r^q = 2^-s, dense at both ends; and how much an error at each counts: the
# more the larger the power, for small terms matter only where there are no others.
_FIT_BITS = FITTED_BITS * (1 - np.cos(np.pi * (np.arange(48) + 0.5) / 48)) / 2
_FIT_WEIGHTS = np.exp2(-0.35 * _FIT_BITS)
_CHECK_BITS = np.linspace(0, 30, 121)
_CHECK_NEAR_1 = _CHECK_BITS <= 10


def fit(q: float) -> Power:
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


def error(fitted: Power) -> tuple[float, float]:
    """The largest relative error of the fitted power where r^q > 2^-10, and where it is > 2^-30."""
    z = fitted.c * (1 - np.exp2(-_CHECK_BITS / fitted.q))
    executed = np.array(fitted.coefficients[::-1], np.float32).astype(np.float64)
    value = np.polyval(executed, z)
    relative = np.abs(value ** (2.0**fitted.squarings) * np.exp2(_CHECK_BITS) - 1)
    return float(relative[_CHECK_NEAR_1].max()), float(relative.max())


def near(p: float) -> float:
    """In a forward: the ratio below which a term adds nothing; 0 where looking does not pay."""
    return 2 ** (-NEAR_BITS / p) if p >= LEAST_LOOKING_FORWARD else 0.0


@lru_cache(maxsize=8)
def drop_below(q: float) -> NDArray[np.float32] | None:
    """In a backward: by the exponent bits of |grad|, the ratio below which |grad| r^q is dropped; or None.

    Every term is dropped where the gradient is 0, and none where it is an infinity or a NaN.
    """
    if q < LEAST_LOOKING_BACKWARD:
        return None
    greatest = np.arange(256) - 126  # |grad| is below two to this power
    bits = np.minimum(greatest - math.log2(DROP_ABSOLUTE), DROP_BITS)
    ratios: NDArray[np.float32] = np.exp2(-bits / q).astype(np.float32)
    ratios[0], ratios[255] = np.inf, -1
    return ratios
