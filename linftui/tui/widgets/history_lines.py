"""The history of a run as lines of text; if it has ended, the last line says how."""

from functools import lru_cache

from textual.content import Content

from linftui.rundir.records import EvalRecord, EventRecord
from linftui.text import accuracy, clean, time_of_day
from linftui.tui.live.run_follower import Standing
from linftui.tui.live.run_history import KEPT, HistoryEntry
from linftui.tui.live.run_model import RunModel
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


def history_lines(model: RunModel, last: int | None = None) -> list[Content]:
    """The lines in order of time: all of them, or the `last` ones (for a run that has ended at least one)."""
    ending = [ending_line(model.standing, model.ending)] if model.standing and model.has_ended else []
    entries = model.history.entries()
    if last is not None:
        entries = entries[max(len(entries) + len(ending) - last, 0) :]
    return [*map(entry_line, entries), *ending]


@lru_cache(maxsize=2 * KEPT)  # as a long log grows, only its new lines are laid out
def entry_line(entry: HistoryEntry) -> Content:
    """One entry of the history."""
    if isinstance(entry.what, EventRecord):
        return event_line(entry.what)
    if isinstance(entry.what, EvalRecord):
        return evaluation_line(entry.what)
    return Content.assemble(("     log ", "$faint"), entry.what)


def ending_line(standing: Standing, reason: str) -> Content:
    """Which attempt ended, when and how, and the reason if there is one."""
    run, ended = standing.row.summary, standing.ended
    _, word, colour = state_look(run.state)
    known = ended is not None and ended.attempt == run.attempt
    return Content.assemble(
        (time_of_day(ended.time) if known and ended is not None else " " * 8, "$faint"),
        (f" attempt {run.attempt or '-'} {word}", colour), (clean(f": {reason}" if reason else ""), "$muted"),
    )  # fmt: skip


def event_line(event: EventRecord) -> Content:
    """The time, name and message of an event."""
    return Content.assemble(
        (time_of_day(event.time), "$faint"), " ",
        (event.event, EVENT_STYLES.get(event.event, "$foreground")), " ", (clean(event.message), "$muted"),
    )  # fmt: skip


def evaluation_line(record: EvalRecord) -> Content:
    """The epoch and figures of an evaluation, which is always at p = inf."""
    means = "" if record.means == "running" else ", re-estimated means"
    return Content.assemble(
        (time_of_day(record.time), "$faint"), f" {record.split} ", (f"epoch {record.epoch:g}", "$muted"),
        ("  certified ", "$muted"), (accuracy(record.certified_accuracy), "$success"),
        ("  clean ", "$muted"), accuracy(record.clean_accuracy), (f"  p = ∞{means}", "$faint"),
    )  # fmt: skip
