"""Why a run ended as it did, in a sentence: from what its supervisor wrote last, or else from its events."""

from collections.abc import Iterable

from linftui.rundir.liveness import SILENCE_S
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_record
from linftui.rundir.records import EventRecord, ExitRecord


def why_it_ended(
    state: str | None, attempt: int | None, ended: ExitRecord | None, events: Iterable[EventRecord]
) -> str:
    """The sentence, empty where the state says enough.

    Args:
        state: the run's state.
        attempt: its current attempt.
        ended: how an attempt ended, where that was written.
        events: the run's events, the newest last; read only where nothing was written.
    """
    if state == "lost":
        return f"its processes cannot be seen from here, and it has been silent for over {SILENCE_S:.0f} s"
    if ended is not None and ended.message and ended.outcome == state and attempt in (None, ended.attempt):
        return f"{ended.message}; {ended.hint}" if ended.hint else ended.message
    if state not in ("failed", "crashed"):
        return ""
    last = None
    for event in events:
        if event.attempt == attempt:
            last = event
    # A rank reported its end and the supervisor did not, which outlives its ranks unless it is killed.
    if last is not None and last.event == "stopped":
        return f"its supervisor was killed; step {last.step:,} was saved"
    if last is not None and last.event == "finished":
        return f"its supervisor was killed; the training finished at step {last.step:,}"
    return "its processes are gone and left no message"


def read_why_it_ended(paths: RunPaths, state: str | None, attempt: int | None) -> str:
    """`why_it_ended` from a run's files as they are now. Raises RunDirectoryError where they are damaged."""
    return why_it_ended(state, attempt, read_record(paths.exit, ExitRecord), RunReader(paths).each_event())
