"""The reading thread: what it posts, that it waits for the app, and that it ends."""

import queue
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support.person import append

from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_all
from linftui.rundir.records import Metric
from linftui.rundir.store import RunStore
from linftui.tui.live import poller, run_follower
from linftui.tui.live.following import Following
from linftui.tui.live.messages import FactsRead, MachineSampled, PollerFailed, RunGrew, RunsListed
from linftui.tui.live.poller import Poller

M = TypeVar("M")
Posted = queue.Queue[Any]


def told(posted: Posted, kind: type[M]) -> M:
    """The next message of that kind."""
    while not isinstance(message := posted.get(timeout=20), kind):
        pass
    return message


@pytest.fixture
def posted() -> Posted:
    """What the poller posts."""
    return queue.Queue()


@pytest.fixture
def reading(runs: Path, posted: Posted) -> Iterator[Poller]:
    """A poller at work on the folder of one run."""
    thread = Poller(RunStore(runs), posted.put)
    thread.start()
    yield thread
    thread.stop()
    assert not thread.is_alive()


def test_it_tells_of_runs_machine_and_facts(reading: Poller, posted: Posted, runs: Path) -> None:
    listed = told(posted, RunsListed)
    assert [row.summary.id for row in listed.rows] == ["tiny-run"]
    assert told(posted, MachineSampled).machine.cores >= 1
    reading.select(RunPaths(runs / "tiny-run"))
    facts = told(posted, FactsRead).facts
    assert facts.meta is not None and facts.meta.recipe == "tiny" and facts.events[-1].event == "finished"


def test_the_open_run_is_told_in_bites_that_wait_to_be_taken(
    reading: Poller, posted: Posted, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_follower, "CHUNK", 1000)
    monkeypatch.setattr(poller, "FOLLOW_S", 0.05)
    paths = RunPaths(runs / "tiny-run")
    expected = read_all(paths)
    following = reading.follow(paths)
    records = list(told(posted, RunGrew).news.metrics)
    with pytest.raises(queue.Empty):
        while not isinstance(posted.get(timeout=1.0), RunGrew):
            pass
    while len(records) < len(expected):
        following.take_more()
        records += told(posted, RunGrew).news.metrics
    assert records == expected
    following.take_more()
    append(paths.metrics, expected[-1])
    assert told(posted, RunGrew).news.metrics == expected[-1:]


def test_runs_are_followed_beside_each_other_each_until_it_is_closed(
    reading: Poller, posted: Posted, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_follower, "CHUNK", 1000)
    monkeypatch.setattr(poller, "FOLLOW_S", 0.05)
    shutil.copytree(runs / "tiny-run", runs / "other")
    records = read_all(RunPaths(runs / "tiny-run"))
    followings = [reading.follow(RunPaths(runs / name)) for name in ("tiny-run", "other", "tiny-run")]
    found: dict[Following, list[Metric]] = {following: [] for following in followings}
    while any(len(told_so_far) < len(records) for told_so_far in found.values()):
        grew = told(posted, RunGrew)
        assert grew.news.paths == grew.following.paths
        found[grew.following] += grew.news.metrics
        grew.following.take_more()
    assert all(told_so_far == records for told_so_far in found.values())
    followings[0].close()
    append(followings[0].paths.metrics, records[-1])
    append(followings[1].paths.metrics, records[-1])
    assert {told(posted, RunGrew).following for _ in range(2)} == set(followings[1:])
    with pytest.raises(queue.Empty):
        while not isinstance(posted.get(timeout=1.0), RunGrew):
            pass


def test_news_that_are_not_taken_hold_up_no_other_run(
    reading: Poller, posted: Posted, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_follower, "CHUNK", 1000)
    shutil.copytree(runs / "tiny-run", runs / "other")
    records = read_all(RunPaths(runs / "tiny-run"))
    neglected, other = (reading.follow(RunPaths(runs / name)) for name in ("tiny-run", "other"))
    found: dict[Following, list[Metric]] = {neglected: [], other: []}
    while len(found[other]) < len(records):
        grew = told(posted, RunGrew)
        found[grew.following] += grew.news.metrics
        if grew.following is other:
            other.take_more()
    assert 0 < len(found[neglected]) < len(records)


def test_an_error_that_nobody_foresaw_is_told(
    runs: Path, posted: Posted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("linftui.tui.live.run_list.read_row", fail)
    thread = Poller(RunStore(runs), posted.put)
    thread.start()
    assert isinstance(told(posted, PollerFailed).error, ZeroDivisionError)
    thread.stop()
