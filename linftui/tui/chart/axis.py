"""Axes: the range to show, the places of the ticks, and numbers in as few characters as distinguish them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Ranges narrower than this, relative to their values, are widened: their labels would be too long.
FINEST = 1e-6
# Beyond this, the difference of two values could overflow.
LARGEST = 1e300
# An outlier lies more than this many times the width of the inner 98 % of the values away from them.
OUTLIER = 4.0
UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Scale:
    """A range of an axis, linear or logarithmic; low < high, and low > 0 on a logarithmic one."""

    low: float
    high: float
    log: bool = False

    def places(self, values: Floats) -> Floats:
        """Values as shares of the range, low at 0 and high at 1; on a log axis, -inf unless positive."""
        low, high = self._ends
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            warped = np.log10(np.where(values < 0, 0.0, values)) if self.log else values
            return (warped - low) / (high - low)

    def place(self, value: float) -> float:
        """The share of one value."""
        return float(self.places(np.array([value]))[0])

    def value(self, share: float) -> float:
        """The value at a share of the range."""
        low, high = self._ends
        warped = low + share * (high - low)
        if not self.log:
            return float(warped)
        return float(10.0 ** min(max(warped, -300.0), 300.0))

    def zoomed(self, factor: float, around: float) -> "Scale":
        """The range made `factor` times finer (coarser below 1), with the share `around` staying in place."""
        return self._between(around - around / factor, around + (1 - around) / factor)

    def panned(self, share: float) -> "Scale":
        """The range moved up by a share of itself."""
        return self._between(share, 1 + share)

    def _between(self, low: float, high: float) -> "Scale":
        found = Scale(self.value(low), self.value(high), self.log)
        size = max(abs(found.low), abs(found.high))
        # Floating point has nothing finer, or larger, to show.
        if not found.high - found.low > FINEST * 1e-3 * size or size > LARGEST:
            return self
        return found

    @property
    def _ends(self) -> tuple[float, float]:
        return (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)


def scale_for(values: Floats | Sequence[float], log: bool = False) -> Scale:
    """A rounded range that holds all finite values (on a log axis: all positive ones).

    Rounding outwards by a few per cent keeps the axis still while a curve grows.
    """
    found = np.asarray(values, np.float64).ravel()
    found = found[np.isfinite(found)]
    found = found[found > 0] if log else found
    if not len(found):
        return Scale(0.1, 1.0, True) if log else Scale(0.0, 1.0)
    low, high = (float(min(max(v, -LARGEST), LARGEST)) for v in (found.min(), found.max()))
    if log:
        low, high = max(low, 1 / LARGEST), max(high, 1 / LARGEST)
        if high < low * 1.01:
            low, high = low / 2, high * 2
        return Scale(_leading_digit(low, math.floor), _leading_digit(high, math.ceil), True)
    size = max(abs(low), abs(high))
    if high - low <= FINEST * size or size == 0:
        margin = 0.05 * size or 0.5
        low, high = low - margin, high + margin
    step = _nice_below((high - low) / 20)
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def without_outliers(values: Floats, keep: Floats, log: bool = False) -> tuple[Floats, bool, bool]:
    """The values to fit a range to, and whether outliers above, and below, are left out.

    `keep` (the newest values) are never outliers: a curve that jumps at its end must be seen.
    """
    values = np.sort(values[np.isfinite(values) & (values > 0)] if log else values[np.isfinite(values)])
    few = max(2, len(values) // 100)
    if len(values) < 8 * few:
        return values, False, False
    warped = np.log10(values) if log else np.clip(values, -LARGEST, LARGEST)
    bottom, top = warped[few], warped[-1 - few]
    reach = OUTLIER * (top - bottom)
    if reach <= 0:
        return values, False, False
    inside = (warped >= bottom - reach) & (warped <= top + reach)
    kept = np.append(values[inside], keep[np.isfinite(keep)])
    return kept, bool(values.max() > kept.max()), bool(values.min() < kept.min())


def ticks(scale: Scale, count: int) -> list[float]:
    """At most `count` (at least two) round values within the range, rising; else its two ends."""
    count = max(count, 2)
    found = _log_ticks(scale, count) if scale.log else _linear_ticks(scale, count)
    return found if len(found) >= 2 else [scale.low, scale.high]


def _linear_ticks(scale: Scale, count: int) -> list[float]:
    exponent = math.floor(math.log10((scale.high - scale.low) / count))
    for digit, up in ((1, 0), (2, 0), (2.5, 0), (5, 0), (1, 1), (2, 1), (2.5, 1), (5, 1)):
        # Steps of 2.5 only where they need no extra digit: quarters of 1, of 100 and of 1,000.
        if digit == 2.5 and (exponent + up not in (-1, 1, 2) or scale.high >= 1000):
            continue
        step = float(f"{digit}e{exponent + up}")
        first, last = math.ceil(scale.low / step - 1e-6), math.floor(scale.high / step + 1e-6)
        if last - first < count:
            return [round_to(k * step, step) for k in range(first, last + 1)]
    return []


def _log_ticks(scale: Scale, count: int) -> list[float]:
    low, high = scale.low * (1 - 1e-9), scale.high * (1 + 1e-9)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    whole = [10.0**k for k in decades if low <= 10.0**k <= high]
    if len(whole) > 2 or (len(whole) == 2 and count < 4):
        every = -(-len(whole) // count)
        return whole[::-every][::-1]
    for digits in ((1, 2, 5), (1, 3), (1, 2), (1, 5)):
        found = [digit * 10.0**k for k in decades for digit in digits if low <= digit * 10.0**k <= high]
        if 2 <= len(found) <= count:
            return found
    return whole if len(whole) == 2 else _linear_ticks(Scale(scale.low, scale.high), count)


def labels(values: Sequence[float], log: bool = False) -> list[str]:
    """The ticks' labels, as short as distinguishes them; shares as `.05` to `1.0`.

    On a linear axis all have the same decimals; on a log axis each is as short as possible.
    """
    largest = max((abs(v) for v in values), default=0.0)
    step = min((b - a for a, b in zip(values, values[1:], strict=False)), default=largest or 1.0)
    if log or largest >= 1000 or 0 < largest < 0.01:
        return [_shortest(v, min(step, abs(v)) if log else step) for v in values]
    decimals = _decimals(values, step)
    if largest <= 1 and min(values, default=0) >= 0:
        # 1 takes no more characters than the shares below it.
        decimals = max(decimals, 2)
        return [f"1.{'0' * (decimals - 1)}" if v == 1 else _bare(f"{v:.{decimals}f}") for v in values]
    return [_bare(f"{v:.{decimals}f}") if v else "0" for v in values]


def compact(value: float | None, digits: int = 4) -> str:
    """A number of `digits` digits in few characters: .2263, 68.9, 11.84k, 9.2e-4, ∞; a dash for None."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value and not 1e-3 <= abs(value) < 1e15:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{_significant(float(mantissa), digits)}e{int(exponent)}"
    value = float(f"{value:.{digits - 1}e}")
    size = abs(value)
    for unit, letter in UNITS:
        if size >= unit * (10 if letter == "k" else 1):
            return _significant(value / unit, digits) + letter
    return _significant(value, digits)


def round_to(value: float, step: float) -> float:
    """The value without the digits that floating point added far below the step."""
    return round(value, max(0, 2 - math.floor(math.log10(step)))) if 1e-300 < step < 1e15 else value


def _shortest(value: float, step: float) -> str:
    """One label by itself: plain, with a unit's letter, or scientific, whichever is shortest."""
    size = abs(value)
    if size == 0 or math.isinf(size):
        return "0" if size == 0 else compact(value)
    units = [(unit, letter) for unit, letter in UNITS if unit <= size < unit * 1000]
    if 1e-6 <= size < 1e7:
        units.append((1.0, ""))
    if size < 1e-2 or size >= 1e7:
        exponent = math.floor(math.log10(size) + 1e-12)
        units.append((10.0**exponent or size, f"e{exponent}"))
    return min((_in_units(value, step, unit) + letter for unit, letter in units), key=len)


def _in_units(value: float, step: float, unit: float) -> str:
    step = max(step, 1e-10 * abs(value))  # steps on a log axis may differ by more digits than exist
    return _bare(f"{value / unit:.{_decimals([value / unit], step / unit)}f}")


def _decimals(values: Sequence[float], step: float) -> int:
    """The fewest decimals that show every value to within a hundredth of the step."""
    return next((d for d in range(10) if all(abs(round(v, d) - v) <= step * 0.01 for v in values)), 10)


def _significant(value: float, digits: int) -> str:
    """The value with `digits` digits, without trailing zeros of its fraction."""
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0) if value else 0
    text = f"{value:.{decimals}f}"
    return _bare(text.rstrip("0").rstrip(".") if decimals else text)


def _bare(text: str) -> str:
    """0.25 as .25, -0.5 as -.5."""
    if text.startswith("0."):
        return text[1:]
    return "-" + text[2:] if text.startswith("-0.") else text


def _nice_below(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above the value."""
    exponent = math.floor(math.log10(value))
    for digit in (5, 2, 1):
        step = float(f"{digit}e{exponent}")
        if step <= value * (1 + 1e-9):
            return step
    return float(f"5e{exponent - 1}")


def _leading_digit(value: float, rounding: Callable[[float], int]) -> float:
    """The value rounded to one digit by `rounding`."""
    exponent = math.floor(math.log10(value))
    digit = value / 10.0**exponent
    return float(f"{rounding(round(digit, 9))}e{exponent}")
