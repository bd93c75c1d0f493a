"""Each stage of a stop is told once it is true, and not before."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from linftui.errors import RunDirectoryError
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import EventName, EventRecord, ExitRecord, StateRecord, StopRequest
from linftui.rundir.stopping import StopStages, stop_stages
from linftui.rundir.writer import write_record

STATE = StateRecord(
    attempt=2, phase="running", host=this_host(), members=[], devices=["cpu"], threads=1, time=0.0
)
REQUEST = StopRequest(attempt=2, time=100.0, by="linftui stop", deadline_s=30.0)
ASKED = StopStages(
    attempt=2, by="linftui stop", requested=100.0, deadline_s=30.0,
    seen=None, saved_step=None, exited=None, killed=False,
)  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """A run in its second attempt that somebody has asked to stop."""
    paths = RunPaths(tmp_path)
    paths.control.mkdir()
    write_record(paths.state, STATE)
    write_record(paths.stop_request(2), REQUEST)
    return paths


def event(name: EventName, time: float, step: int = 7, attempt: int = 2) -> EventRecord:
    return EventRecord(attempt=attempt, step=step, time=time, event=name)


def then(**reached: Any) -> StopStages:
    """The stages so far, and these."""
    return replace(ASKED, **reached)


STARTED, SEEN = event("resumed", 90.0), event("stop-seen", 101.0)
SAVED = [event("checkpoint", 102.0), event("stopped", 103.0)]


def test_before_a_run_is_started_and_before_anybody_asks_there_is_no_stop(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    assert stop_stages(paths, []) is None
    paths.control.mkdir()
    write_record(paths.stop_request(2), REQUEST)
    assert stop_stages(paths, []) is None
    write_record(paths.state, structs.replace(STATE, attempt=1))
    assert stop_stages(paths, [SEEN, *SAVED]) is None  # the request is for an attempt still to come
    write_record(paths.state, structs.replace(STATE, attempt=3))
    assert stop_stages(paths, [SEEN, *SAVED]) is None  # and now for one that is over


def test_a_stop_that_is_asked_for_is_requested_and_no_more(paths: RunPaths) -> None:
    assert stop_stages(paths, []) == ASKED
    assert stop_stages(paths, [STARTED]) == ASKED


def test_then_it_is_seen_by_the_ranks(paths: RunPaths) -> None:
    assert stop_stages(paths, [STARTED, SEEN]) == then(seen=101.0)
    assert stop_stages(paths, [STARTED, SEEN, SAVED[0]]) == then(seen=101.0)


def test_then_it_is_saved_at_a_step(paths: RunPaths) -> None:
    assert stop_stages(paths, [STARTED, SEEN, *SAVED]) == then(seen=101.0, saved_step=7)


def test_then_its_processes_are_gone(paths: RunPaths) -> None:
    write_record(paths.exit, ExitRecord(attempt=2, outcome="stopped", code=0, time=104.0))
    assert stop_stages(paths, [STARTED, SEEN, *SAVED]) == then(seen=101.0, saved_step=7, exited=104.0)


def test_a_run_that_came_to_its_end_meanwhile_has_saved_its_last_step(paths: RunPaths) -> None:
    ended = event("finished", 103.0, step=36)
    write_record(paths.exit, ExitRecord(attempt=2, outcome="finished", code=0, time=104.0))
    assert stop_stages(paths, [STARTED, ended]) == then(saved_step=36, exited=104.0)


def test_asked_twice_it_was_killed_and_nothing_was_saved(paths: RunPaths) -> None:
    write_record(paths.kill_request(2), REQUEST)
    assert stop_stages(paths, [STARTED, SEEN]) == then(seen=101.0, killed=True)
    write_record(paths.exit, ExitRecord(attempt=2, outcome="stopped", code=-9, time=104.0))
    assert stop_stages(paths, [STARTED, SEEN]) == then(seen=101.0, killed=True, exited=104.0)


def test_what_an_earlier_attempt_left_is_no_stage_of_this_one(paths: RunPaths) -> None:
    write_record(paths.exit, ExitRecord(attempt=1, outcome="stopped", code=0, time=50.0))
    write_record(paths.kill_request(1), structs.replace(REQUEST, attempt=1))
    earlier = [event(name, 50.0, attempt=1) for name in ("started", "stop-seen", "stopped")]
    assert stop_stages(paths, [*earlier, STARTED]) == ASKED


@pytest.mark.parametrize("file", ["state.json", "exit.json", "control/stop-002.json"])
def test_a_damaged_record_is_an_error_and_not_a_stage(paths: RunPaths, file: str) -> None:
    (paths.root / file).write_text("{")
    with pytest.raises(RunDirectoryError, match=f"{Path(file).name}: cannot be read"):
        stop_stages(paths, [])
