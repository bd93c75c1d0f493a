"""What happened in a run, as lines to read: its events, its evaluations and its own log, in order of time."""

import math
from collections import deque

from textual.content import Content

from linftui.rundir.records import EvalRecord, EventRecord
from linftui.text import clean
from linftui.tui.live.run_follower import RunNews, Standing
from linftui.tui.text import accuracy, time_of_day
from linftui.tui.theme import state_look

EVENT_STYLES = {
    "warning": "$warning",
    "stop-seen": "$warning",
    "stopped": "$warning",
    "failed": "$error",
    "finished": "$accent",
    "checkpoint": "$muted",
    "kernels": "$muted",
}


KEPT = 2000  # lines of the log, and as many of the rest: neither pushes out the other

Entry = tuple[int, float, Content]  # an attempt, a moment in seconds since 1970, and what is said of it


class Journal:
    """The lines of one run. Files are read in pieces and one after the other; that does not show here.

    A log tells no times: its lines are of the moment at which it was last written to before they were read.
    """

    def __init__(self) -> None:
        self._dated: list[Entry] = []
        self._log: deque[Entry] = deque(maxlen=KEPT)

    def add(self, news: RunNews) -> None:
        """Takes what is new."""
        dated = [(event.attempt, event.time, event_line(event)) for event in news.events]
        dated += [(r.attempt, r.time, evaluation_line(r)) for r in news.metrics if isinstance(r, EvalRecord)]
        self._dated = sorted([*self._dated, *dated], key=_place)[-KEPT:]
        attempt = news.standing.row.summary.attempt or 0
        for line in news.log:
            before = self._log[-1][1] if self._log and self._log[-1][0] == attempt else 0.0
            entry = Content.assemble(("     log ", "$faint"), clean(line))
            self._log.append((attempt, max(before, news.log_written), entry))

    def lines(self) -> list[Content]:
        """All that are kept, the newest last."""
        return [line for *_, line in sorted([*self._dated, *self._log], key=_place)]


def _place(entry: Entry) -> tuple[int, float]:
    """By attempts first, since clocks are set back; a number that is no moment comes first in its own."""
    attempt, moment, _ = entry
    return attempt, moment if math.isfinite(moment) else 0.0


def ending_line(standing: Standing, reason: str) -> Content:
    """Which attempt ended, when and how, and the reason where there is one."""
    run, ended = standing.row.summary, standing.ended
    _, word, colour = state_look(run.state)
    known = ended is not None and ended.attempt == run.attempt
    return Content.assemble(
        (time_of_day(ended.time) if known and ended is not None else " " * 8, "$faint"),
        (f" attempt {run.attempt or '-'} {word}", colour), (clean(f": {reason}" if reason else ""), "$muted"),
    )  # fmt: skip


def event_line(event: EventRecord) -> Content:
    """When, what, and what was said of it."""
    return Content.assemble(
        (time_of_day(event.time), "$faint"), " ",
        (event.event, EVENT_STYLES.get(event.event, "$foreground")), " ", (clean(event.message), "$muted"),
    )  # fmt: skip


def evaluation_line(record: EvalRecord) -> Content:
    """Where it was made, and what came of it; at p = inf always."""
    means = "" if record.means == "running" else ", re-estimated means"
    return Content.assemble(
        (time_of_day(record.time), "$faint"), f" {record.split} ", (f"epoch {record.epoch:g}", "$muted"),
        ("  certified ", "$muted"), (accuracy(record.certified_accuracy), "$success"),
        ("  clean ", "$muted"), accuracy(record.clean_accuracy), (f"  p = ∞{means}", "$faint"),
    )  # fmt: skip
