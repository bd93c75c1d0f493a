"""The state of an open run, built up from its news: everything that its screen shows."""

import math
from collections import deque
from collections.abc import Iterable

from linftui.recipe.schedule import Schedules
from linftui.rundir.ending import why_it_ended
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import EvalRecord, EventRecord, TrainRecord
from linftui.rundir.state import ACTIVE, GOING_ON
from linftui.tui.live.run_curves import RunCurves
from linftui.tui.live.run_follower import RunNews, Standing
from linftui.tui.live.run_history import RunHistory


class RunModel:
    """One run. `add` takes news; the properties are derived from all news so far."""

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self.curves = RunCurves()
        self.standing: Standing | None = None
        self.train: TrainRecord | None = None
        self.evaluation: EvalRecord | None = None  # the newest on the test set with running means
        self.events: deque[EventRecord] = deque(maxlen=2000)
        self.history = RunHistory()
        self._spans: dict[int, tuple[float, float]] = {}  # times of the first and last record of each attempt

    def add(self, news: RunNews) -> None:
        """Adds news."""
        self.standing = news.standing
        self.curves.add(news.metrics, news.devices)
        self.events += news.events
        self.history.add(news)
        for record in news.metrics:
            if record.attempt < self.curves.attempt:
                continue
            if isinstance(record, TrainRecord):
                self.train = record
            elif record.counts:
                self.evaluation = record
        self._note_times((record.attempt, record.time) for record in news.events)
        self._note_times((record.attempt, record.time) for record in (*news.metrics[:1], *news.metrics[-1:]))

    def _note_times(self, moments: Iterable[tuple[int, float]]) -> None:
        for attempt, moment in moments:
            if math.isfinite(moment):
                first, last = self._spans.get(attempt, (moment, moment))
                self._spans[attempt] = (min(first, moment), max(last, moment))

    @property
    def state(self) -> str | None:
        """The run's state, `gone` if its directory is gone; None if it is damaged or not read yet."""
        if self.standing is None:
            return None
        return "gone" if self.standing.gone else self.standing.row.summary.state

    @property
    def going_on(self) -> bool:
        """Whether it is being trained now."""
        return self.state in GOING_ON

    @property
    def reason(self) -> str:
        """Why it ended, in a sentence; empty if its state says enough, or it has not ended."""
        if self.standing is None:
            return ""
        return why_it_ended(self.state, self.standing.row.summary.attempt, self.standing.ended, self.events)

    @property
    def has_ended(self) -> bool:
        """Whether its latest attempt is known to be over."""
        return self.state not in (None, "gone", *ACTIVE)

    @property
    def ending(self) -> str:
        """Why it ended, or else a caution about its result."""
        return self.reason or (self.standing.row.summary.caution if self.standing else "")

    @property
    def epochs(self) -> int | None:
        """The number of epochs in its recipe."""
        return self.standing.row.summary.epochs if self.standing else None

    def elapsed(self, now: float) -> float:
        """Seconds of training, over all attempts."""
        total = sum(last - first for first, last in self._spans.values())
        if self.going_on and self._spans:
            current = max(self._spans)
            if self.standing is not None and self.standing.row.summary.attempt == current:
                total += max(0.0, now - self._spans[current][1])
        return total

    def eta(self, now: float) -> float | None:
        """Seconds to the end of the last epoch at the recent pace; None if there is no pace."""
        return self.standing.row.eta(now) if self.standing else None

    def p_infinity_in(self, now: float) -> float | None:
        """Seconds until p becomes infinite; None if it already is, or there is no pace."""
        standing, train = self.standing, self.train
        if standing is None or standing.recipe is None or standing.row.pace is None:
            return None
        if train is None or math.isinf(train.p):
            return None
        end = Schedules.of(standing.recipe).p.end
        return standing.row.pace.seconds_until(end, now) if end <= standing.recipe.epochs else None
