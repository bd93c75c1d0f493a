"""Why a run ended badly, in a sentence: what its supervisor left word of, or else what its events tell."""

from collections.abc import Iterable

from linftui.rundir.records import EventRecord, ExitRecord


def why_it_ended(
    state: str | None, attempt: int | None, ended: ExitRecord | None, events: Iterable[EventRecord]
) -> str:
    """The sentence, empty for a run that did not end badly.

    Args:
        state: the run's.
        attempt: its current one.
        ended: how an attempt ended, where that was written.
        events: what happened, the newest last.
    """
    if state not in ("failed", "crashed"):
        return ""
    if ended is not None and ended.message:
        return f"{ended.message}; {ended.hint}" if ended.hint else ended.message
    own = [event for event in events if event.attempt == attempt]
    last = own[-1] if own else None
    # A rank's last word without one of the supervisor, which outlives its ranks unless it is killed.
    if last is not None and last.event == "stopped":
        return f"its supervisor was killed; step {last.step:,} was saved"
    if last is not None and last.event == "finished":
        return f"its supervisor was killed; the training came to its end, step {last.step:,}"
    return "its processes are gone without a word"
