"""Schedules as pure functions of progress: the values of p, lam, eps and the learning rates at any moment.

Progress `t` is epoch + batch / batches, a float in [0, epochs]. Source: section "Schedules" of the method
(ICLR 2022): p and lam move geometrically over the same stretch, the learning rates follow a half cosine.
"""

import math
from dataclasses import dataclass

from linftui.recipe.schema import Recipe


@dataclass(frozen=True)
class Moment:
    """The schedules' values at one step. A net needs only p; its objective and optimizer need the rest."""

    p: float
    eps: float = 0.0  # the objective's radius, pixel units
    lam: float | None = None  # None: the objective mixes nothing
    lr: float = 0.0  # of the net's weights
    objective_lr: float = 0.0  # of what the objective itself learns


AT_INFINITY = Moment(p=math.inf)  # where nets are evaluated and certified


@dataclass(frozen=True)
class PSchedule:
    """p: constant, then geometric over a stretch of epochs, then infinite."""

    start: float
    final: float
    begin: float
    end: float

    def ramp(self, t: float) -> float:
        """Share of the stretch covered at progress `t`, in [0, 1]."""
        return min(max((t - self.begin) / (self.end - self.begin), 0.0), 1.0)

    def at(self, t: float) -> float:
        """The norm's p at progress `t`; infinite once the stretch is covered."""
        r = self.ramp(t)
        return math.inf if r >= 1.0 else self.start * math.pow(self.final / self.start, r)


@dataclass(frozen=True)
class Schedules:
    """All schedules of a recipe."""

    p: PSchedule
    lam: tuple[float, float] | None  # at p's start and end; None: the objective mixes nothing
    eps: float
    lr: float
    objective_lr: float
    epochs: int

    @staticmethod
    def of(recipe: Recipe) -> "Schedules":
        p, optimizer = recipe.p, recipe.optimizer
        return Schedules(
            p=PSchedule(p.start, p.final, p.begin_epoch, p.end_epoch),
            lam=recipe.objective.mixing,
            eps=float(recipe.eps.train),
            lr=optimizer.lr,
            objective_lr=optimizer.scalar_lr,
            epochs=recipe.epochs,
        )

    def at(self, t: float) -> Moment:
        """The values at progress `t`."""
        return Moment(
            p=self.p.at(t),
            eps=self.eps,
            lam=self._lam(t),
            lr=cosine_lr(self.lr, t, self.epochs),
            objective_lr=cosine_lr(self.objective_lr, t, self.epochs),
        )

    def _lam(self, t: float) -> float | None:
        if self.lam is None:
            return None
        start, end = self.lam
        return start * math.pow(end / start, self.p.ramp(t))


def cosine_lr(base: float, t: float, epochs: int | float) -> float:
    """The learning rate at progress `t`: half a cosine from `base` down to 0 at `epochs`."""
    return 0.5 * base * (1.0 + math.cos(math.pi * t / epochs))
