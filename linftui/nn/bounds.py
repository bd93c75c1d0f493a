"""Intervals that enclose a value, and how each float operation of a net moves them outward.

The argument, once for all layers: round-to-nearest is monotone, so an operation applied to the ends of an
interval gives ends that enclose the *executed* operation on every float inside. The exact result differs
from the rounded one by less than one ulp, so moving each end to its neighbouring float encloses *exact
arithmetic* as well. One pass thus bounds both the program and the real function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from linftui.ops.reference import next_down, next_up


@dataclass(frozen=True)
class IntervalBounds:
    """Lower and upper ends, [N, ...] each, and whether everything so far was finite, [N]."""

    lower: Float[Tensor, "n *shape"]
    upper: Float[Tensor, "n *shape"]
    finite: Bool[Tensor, " n"]

    @staticmethod
    def of(lower: Tensor, upper: Tensor, finite: Tensor | None = None) -> "IntervalBounds":
        """Notes which rows hold a NaN or an infinity; a row stays marked through every later layer."""
        now = _all_finite(lower) & _all_finite(upper)
        return IntervalBounds(lower, upper, now if finite is None else finite & now)

    def minus(self, value: Tensor) -> "IntervalBounds":
        """Bounds of z - value, for an executed float subtraction and for the exact one."""
        return IntervalBounds.of(next_down(self.lower - value), next_up(self.upper - value), self.finite)

    def plus(self, value: Tensor) -> "IntervalBounds":
        """Bounds of z + value, likewise."""
        return IntervalBounds.of(next_down(self.lower + value), next_up(self.upper + value), self.finite)

    def divided_by(self, positive: Tensor) -> "IntervalBounds":
        """Bounds of z / positive, likewise; the divisor is a tensor so that a true division is executed."""
        return IntervalBounds.of(
            next_down(self.lower / positive), next_up(self.upper / positive), self.finite
        )

    def negated(self) -> "IntervalBounds":
        """Bounds of -z; exact."""
        return IntervalBounds(-self.upper, -self.lower, self.finite)

    def flattened(self) -> "IntervalBounds":
        """The same, a vector a row."""
        return IntervalBounds(self.lower.flatten(1), self.upper.flatten(1), self.finite)


def _all_finite(ends: Tensor) -> Tensor:
    """Which rows are finite: by their extremes, which are NaN where anything is."""
    rows = ends.flatten(1)
    if not rows.shape[1]:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return (rows.amin(1) > -torch.inf) & (rows.amax(1) < torch.inf)


def pixel_box(images: UInt8[Tensor, "n c h w"], eps: Fraction, levels: int) -> IntervalBounds:
    """The box [x0 - eps, x0 + eps] within [0, 1] around images whose pixels are exactly byte / levels.

    The ends are exact fractions rounded outward to float32, so no real point of the box is lost.
    """
    return pixel_boxes(images, [eps], torch.zeros(len(images), dtype=torch.int64), levels)


def pixel_boxes(
    images: UInt8[Tensor, "n c h w"], radii: Sequence[Fraction], which: Int[Tensor, " n"], levels: int
) -> IntervalBounds:
    """As `pixel_box`, image n with radius `radii[which[n]]`."""
    tables = zip(*(_box_table(eps, levels) for eps in radii), strict=True)
    offset = (which * (levels + 1)).to(images.device, torch.int32)
    index = (images + offset[:, None, None, None]).flatten()
    low, high = (
        torch.stack(ends).to(images.device).flatten().index_select(0, index).view(images.shape)
        for ends in tables
    )
    return IntervalBounds.of(low, high)


@lru_cache(maxsize=64)
def _box_table(eps: Fraction, levels: int) -> tuple[Tensor, Tensor]:
    """Ends of the box for every byte value 0..levels, rounded outward, [levels + 1] each."""
    if eps < 0:
        raise ValueError(f"eps must be >= 0, got {eps}")
    values = [Fraction(k, levels) for k in range(levels + 1)]
    low = [round_down(max(Fraction(0), v - eps)) for v in values]
    high = [-round_down(-min(Fraction(1), v + eps)) for v in values]
    return torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)


def round_down(value: Fraction) -> float:
    """The largest float32 that is <= value (a finite fraction within float32's range)."""
    lowest, highest = np.float32(-np.inf), np.float32(np.inf)
    nearest = np.float32(float(value))
    while _exceeds(nearest, value):
        nearest = np.nextafter(nearest, lowest)
    while not _exceeds(above := np.nextafter(nearest, highest), value):
        nearest = above
    return float(nearest)


def _exceeds(number: np.float32, value: Fraction) -> bool:
    if not np.isfinite(number):
        return bool(number > 0)
    numerator, denominator = number.as_integer_ratio()
    return numerator * value.denominator > value.numerator * denominator


def certified_margin(
    logits: IntervalBounds, labels: Int[Tensor, " n"]
) -> tuple[Bool[Tensor, " n"], Float[Tensor, " n"]]:
    """Which boxes are certified, and the margin of each in logit units.

    Certified: the label's lower bound is *strictly* above every other class's upper bound, and no NaN or
    infinity occurred anywhere. The margin is that difference rounded down; NaN where not finite.
    """
    own = logits.lower.gather(1, labels[:, None])[:, 0]
    others = logits.upper.scatter(1, labels[:, None], -torch.inf).amax(1)
    certified = (own > others) & logits.finite
    margin = torch.where(logits.finite, next_down(own - others), torch.nan)
    return certified, margin
