"""What happened in a run, as lines to read: its events, its evaluations and its own log, as they come."""

from textual.content import Content

from linftui.rundir.records import EvalRecord, EventRecord
from linftui.tui.follower import RunNews
from linftui.tui.text import accuracy, clean, time_of_day

EVENT_STYLES = {
    "warning": "$warning",
    "stop-seen": "$warning",
    "stopped": "$warning",
    "failed": "$error",
    "finished": "$accent",
    "checkpoint": "$muted",
    "kernels": "$muted",
}


def journal(news: RunNews) -> list[Content]:
    """Lines for what is new: those of the log, which tell no time, then the others by theirs."""
    dated = [(event.time, event_line(event)) for event in news.events]
    dated += [(r.time, evaluation_line(r)) for r in news.metrics if isinstance(r, EvalRecord)]
    dated.sort(key=lambda entry: entry[0])
    log = [Content.assemble(("     log ", "$faint"), clean(line)) for line in news.log]
    return log + [line for _, line in dated]


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
