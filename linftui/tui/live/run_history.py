"""What happened in a run, in order of time: its events, its evaluations, and the lines of its own log."""

import math
from collections import deque
from dataclasses import dataclass

from linftui.rundir.records import EvalRecord, EventRecord
from linftui.text import clean
from linftui.tui.live.run_follower import RunNews

KEPT = 2000  # lines of the log, and as many of the rest: neither pushes out the other


@dataclass(frozen=True, eq=False)
class HistoryEntry:
    """One thing that happened. It is equal to itself alone, so that what is made of it may be kept."""

    attempt: int
    time: float  # seconds since 1970, or what a record says in their place
    what: EventRecord | EvalRecord | str  # a line of the log is a str


class RunHistory:
    """The entries of one run. Files are read in pieces and one after the other; that does not show here.

    A log tells no times: its lines are of the moment at which it was last written to before they were read.
    """

    def __init__(self) -> None:
        self._dated: list[HistoryEntry] = []
        self._log: deque[HistoryEntry] = deque(maxlen=KEPT)

    def add(self, news: RunNews) -> None:
        """Takes what is new."""
        dated = [HistoryEntry(event.attempt, event.time, event) for event in news.events]
        dated += [HistoryEntry(r.attempt, r.time, r) for r in news.metrics if isinstance(r, EvalRecord)]
        self._dated = sorted([*self._dated, *dated], key=_place)[-KEPT:]
        attempt = news.standing.row.summary.attempt or 0
        for line in news.log:
            before = self._log[-1].time if self._log and self._log[-1].attempt == attempt else 0.0
            self._log.append(HistoryEntry(attempt, max(before, news.log_written), clean(line)))

    def entries(self) -> list[HistoryEntry]:
        """All that are kept, the newest last."""
        return sorted([*self._dated, *self._log], key=_place)


def _place(entry: HistoryEntry) -> tuple[int, float]:
    """By attempts first, since clocks are set back; a number that is no moment comes first in its own."""
    return entry.attempt, entry.time if math.isfinite(entry.time) else 0.0
