"""Intervals that enclose a value, and how each float operation of a net moves them outward.

The argument, once for all layers: round-to-nearest is monotone, so an operation applied to the ends of an
interval gives ends that enclose the *executed* operation on every float inside. The exact result differs
from the rounded one by less than one ulp, so moving each end to its neighbouring float encloses *exact
arithmetic* as well. One pass thus bounds both the program and the real function.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

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
        now = (lower.isfinite() & upper.isfinite()).flatten(1).all(1)
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


def pixel_box(images: UInt8[Tensor, "n c h w"], eps: Fraction, levels: int) -> IntervalBounds:
    """The box [x0 - eps, x0 + eps] within [0, 1] around images whose pixels are exactly byte / levels.

    The ends are exact fractions rounded outward to float32, so no real point of the box is lost.
    """
    low, high = (table.to(images.device) for table in _box_table(eps, levels))
    index = images.long()
    return IntervalBounds.of(low[index], high[index])


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
    nearest = torch.tensor(float(value), dtype=torch.float32)
    while Fraction(nearest.item()) > value:
        nearest = next_down(nearest)
    above = next_up(nearest)
    while Fraction(above.item()) <= value:
        nearest, above = above, next_up(above)
    return nearest.item()


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
