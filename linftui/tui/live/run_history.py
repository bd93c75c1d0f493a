"""What happened in a run, in order of time: its events, its evaluations, and the lines of its log."""

import math
from collections import deque
from dataclasses import dataclass

from linftui.rundir.records import EvalRecord, EventRecord
from linftui.text import clean
from linftui.tui.live.run_follower import RunNews

KEPT = 2000  # lines of the log, and separately other entries, so that neither pushes out the other


@dataclass(frozen=True, eq=False)
class HistoryEntry:
    """One thing that happened. Entries compare by identity, so that what is made from one can be cached."""

    attempt: int
    time: float  # seconds since 1970, if the record is sound
    what: EventRecord | EvalRecord | str  # a line of the log is a str


class RunHistory:
    """The entries of one run, in order although its files are read in pieces and one after the other.

    Log lines carry no times: each gets the time at which the log was last written before it was read.
    """

    def __init__(self) -> None:
        self._dated: list[HistoryEntry] = []
        self._log: deque[HistoryEntry] = deque(maxlen=KEPT)

    def add(self, news: RunNews) -> None:
        """Adds news."""
        dated = [HistoryEntry(event.attempt, event.time, event) for event in news.events]
        dated += [HistoryEntry(r.attempt, r.time, r) for r in news.metrics if isinstance(r, EvalRecord)]
        self._dated = sorted([*self._dated, *dated], key=_place)[-KEPT:]
        attempt = news.standing.row.summary.attempt or 0
        for line in news.log:
            before = self._log[-1].time if self._log and self._log[-1].attempt == attempt else 0.0
            self._log.append(HistoryEntry(attempt, max(before, news.log_written), clean(line)))

    def entries(self) -> list[HistoryEntry]:
        """All kept entries, the newest last."""
        return sorted([*self._dated, *self._log], key=_place)


def _place(entry: HistoryEntry) -> tuple[int, float]:
    """By attempt first, since clocks may be set back; a time that is not finite is the earliest."""
    return entry.attempt, entry.time if math.isfinite(entry.time) else 0.0
