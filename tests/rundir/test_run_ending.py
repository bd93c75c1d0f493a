"""Why a run ended: the supervisor's last word, else what the events tell, else nothing."""

import pytest

from linftui.rundir.ending import why_it_ended
from linftui.rundir.records import EventName, EventRecord, ExitRecord
from linftui.rundir.state import State

FULL = ExitRecord(attempt=2, outcome="failed", code=1, time=0.0, message="the disk is full", hint="free some")


def event(name: EventName, attempt: int = 2) -> EventRecord:
    return EventRecord(attempt=attempt, step=1234, time=0.0, event=name)


@pytest.mark.parametrize(
    ("state", "attempt", "ended", "events", "said"),
    [
        ("failed", 2, FULL, ["stopped"], "the disk is full; free some"),
        ("failed", None, FULL, [], "the disk is full; free some"),  # somebody has deleted state.json
        ("crashed", 3, FULL, [], "its processes are gone and left no message"),  # an earlier attempt said so
        ("running", 3, FULL, [], ""),
        ("crashed", 2, None, ["stopped"], "its supervisor was killed; step 1,234 was saved"),
        ("crashed", 2, None, ["stopped", "warning"], "its processes are gone and left no message"),
        ("crashed", 2, None, ["finished"],
         "its supervisor was killed; the training finished at step 1,234"),
        ("lost", 2, None, [],
         "its processes cannot be seen from here, and it has been silent for over 120 s"),
        ("stopped", 2, None, [], ""),
        ("finished", 2, None, ["finished"], ""),
        (None, None, FULL, [], ""),
    ],
)  # fmt: skip
def test_why_it_ended(
    state: State | None, attempt: int | None, ended: ExitRecord | None, events: list[EventName], said: str
) -> None:
    happened = [event("started"), *map(event, events), event("finished", attempt=1)]
    assert why_it_ended(state, attempt, ended, happened) == said


def test_a_last_word_is_told_of_any_end() -> None:
    ended = ExitRecord(attempt=1, outcome="stopped", code=-9, time=0.0, message="ended without saving")
    assert why_it_ended("stopped", 1, ended, []) == "ended without saving"
