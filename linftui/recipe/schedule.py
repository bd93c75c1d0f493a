"""Schedules as pure functions of progress: what p, lam and the learning rates are at any moment.

Progress `t` is epoch + batch / batches, a float in [0, epochs]. Source: section "Schedules" of the method
(ICLR 2022): p and lam grow geometrically over the same stretch, the learning rate follows a half cosine.
"""

import math
from dataclasses import dataclass

from linftui.recipe.schema import Recipe


@dataclass(frozen=True)
class PSchedule:
    """p and the mixing coefficient lam, which move together."""

    p_start: float
    p_final: float
    begin: float
    end: float
    lam_start: float
    lam_end: float

    @staticmethod
    def of(recipe: Recipe) -> "PSchedule":
        p, lam = recipe.p, recipe.objective.lam
        return PSchedule(p.start, p.final, p.begin_epoch, p.end_epoch, lam.start, lam.end)

    def ramp(self, t: float) -> float:
        """Share of the stretch covered at progress `t`, in [0, 1]."""
        return min(max((t - self.begin) / (self.end - self.begin), 0.0), 1.0)

    def p(self, t: float) -> float:
        """The norm's p at progress `t`; infinite once the stretch is covered."""
        r = self.ramp(t)
        return math.inf if r >= 1.0 else self.p_start * math.pow(self.p_final / self.p_start, r)

    def lam(self, t: float) -> float:
        """The mixing coefficient at progress `t`."""
        return self.lam_start * math.pow(self.lam_end / self.lam_start, self.ramp(t))


def cosine_lr(base: float, t: float, epochs: int | float) -> float:
    """The learning rate at progress `t`: half a cosine from `base` down to 0 at `epochs`."""
    return 0.5 * base * (1.0 + math.cos(math.pi * t / epochs))
