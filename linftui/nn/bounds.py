"""Intervals that enclose a value, and how each float operation of a net moves them outward.

The argument, once for all layers: round-to-nearest is monotone, so an operation applied to the ends of an
interval gives ends that enclose the *executed* operation on every float inside. The exact result differs
from the rounded one by less than one ulp, so moving each end outward to the next float encloses *exact
arithmetic* as well. One pass thus bounds both the program and the real function.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
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
        """Marks rows that hold a NaN or an infinity; a row stays marked in every later layer."""
        now = _all_finite(lower) & _all_finite(upper)
        return IntervalBounds(lower, upper, now if finite is None else finite & now)

    def minus(self, value: Tensor) -> "IntervalBounds":
        """Bounds of z - value, for an executed float subtraction and for the exact one."""
        return IntervalBounds.of(next_down(self.lower - value), next_up(self.upper - value), self.finite)

    def plus(self, value: Tensor) -> "IntervalBounds":
        """Bounds of z + value, likewise."""
        return IntervalBounds.of(next_down(self.lower + value), next_up(self.upper + value), self.finite)

    def divided_by(self, positive: Tensor) -> "IntervalBounds":
        """Bounds of z / positive, likewise; the divisor is a tensor, so that a true division is executed."""
        return IntervalBounds.of(
            next_down(self.lower / positive), next_up(self.upper / positive), self.finite
        )

    def negated(self) -> "IntervalBounds":
        """Bounds of -z; exact."""
        return IntervalBounds(-self.upper, -self.lower, self.finite)

    def flattened(self) -> "IntervalBounds":
        """The same bounds, each row a vector."""
        return IntervalBounds(self.lower.flatten(1), self.upper.flatten(1), self.finite)


def _all_finite(ends: Tensor) -> Tensor:
    """Which rows are finite, by their extremes: those are NaN where any entry is."""
    rows = ends.flatten(1)
    if not rows.shape[1]:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return (rows.amin(1) > -torch.inf) & (rows.amax(1) < torch.inf)
