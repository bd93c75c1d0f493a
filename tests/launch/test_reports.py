"""What ranks say through a pipe arrives, and silence is not mistaken for one's own sleep."""

import time
from collections.abc import Iterator

import pytest

from linftui.errors import WorkerError
from linftui.launch import reports
from linftui.launch.reports import RankReports
from linftui.rundir.records import ErrorRecord, RankReport
from linftui.worker import Reporter


@pytest.fixture
def pipe() -> Iterator[RankReports]:
    pipe = RankReports()
    yield pipe
    pipe.close()


def failure(message: str) -> ErrorRecord:
    return ErrorRecord(error="OSError", message=message, hint="mend it", exit_code=1, time=1.0)


def test_the_first_failure_of_each_rank_is_kept(pipe: RankReports) -> None:
    for rank, message in ((1, "the first"), (0, "another"), (1, "a later one")):
        Reporter(pipe.name, rank).fail(failure(message))
    pipe.read()
    assert pipe.errors == {0: failure("another"), 1: failure("the first")}


def test_a_long_message_is_cut_rather_than_lost(pipe: RankReports) -> None:
    Reporter(pipe.name, 0).fail(failure("é" * 100_000))
    pipe.read()
    assert pipe.errors[0].message == "é" * 1000


def test_a_pipe_that_nobody_reads_holds_nobody_up(pipe: RankReports) -> None:
    reporter = Reporter(pipe.name, 0)
    for _ in range(10_000):
        reporter._write(RankReport(rank=0))
    pipe.read()
    reporter.fail(failure("at last"))
    pipe.read()
    assert pipe.errors[0].message == "at last"


def test_a_supervisor_that_is_gone_is_said_to_be() -> None:
    pipe = RankReports()
    pipe.close()
    with pytest.raises(WorkerError, match="the supervisor is gone"):
        Reporter(pipe.name, 0)


def test_a_rank_is_silent_once_it_has_shown_life_and_shows_it_no_more(
    pipe: RankReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "SILENT_S", 0.3)
    first, second = (Reporter(pipe.name, rank) for rank in range(2))
    second._write(RankReport(rank=1))
    for _ in range(20):
        first._write(RankReport(rank=0))
        pipe.read()
        time.sleep(0.05)
    assert pipe.silent_rank() == 1


def test_a_supervisor_that_was_held_up_itself_blames_no_rank(
    pipe: RankReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "SILENT_S", 0.3)
    monkeypatch.setattr(reports, "ASLEEP_S", 0.2)
    Reporter(pipe.name, 0)._write(RankReport(rank=0))
    pipe.read()
    time.sleep(0.5)
    pipe.read()
    assert pipe.silent_rank() is None
