"""Stopping a run: once is enough whoever has asked, and only who insists ends it."""

from pathlib import Path

import pytest
from support.stand_ins import revive

from linftui.actions.stop import stop, wait_until_stopped
from linftui.errors import RunStateError
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import StopRequest


def test_a_stop_that_somebody_asked_for_already_is_not_asked_for_twice(runs: Path) -> None:
    paths = revive(runs / "tiny-run")
    for by in ("one", "another"):
        assert not stop(paths, by, insist=False)
    request = read_record(paths.stop_request(2), StopRequest)
    assert request is not None and request.by == "one" and not paths.kill_request(2).exists()


def test_who_insists_on_the_end_of_a_run_that_is_not_stopping_asks_it_to_stop(runs: Path) -> None:
    """As where it was resumed while a person was asked whether to end it at once."""
    paths = revive(runs / "tiny-run")
    assert not stop(paths, "one", insist=True)
    assert paths.stop_request(2).exists() and not paths.kill_request(2).exists()
    assert stop(paths, "one", insist=True)
    assert paths.kill_request(2).exists()


def test_the_end_of_one_that_has_ended_is_told_at_once(runs: Path) -> None:
    paths, told = RunPaths(runs / "tiny-run"), list[str]()
    with pytest.raises(RunStateError, match="tiny-run is finished: there is nothing to stop"):
        stop(paths, "me", insist=True)
    assert wait_until_stopped(paths, "me", 120.0, told.append) == "finished"
    assert told == ["finished"]
