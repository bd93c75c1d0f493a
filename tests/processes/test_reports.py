"""What ranks say through a pipe arrives, and silence is not mistaken for one's own sleep."""

import time
from collections.abc import Iterator

import pytest

from linftui.errors import WorkerError
from linftui.processes import reports
from linftui.processes.reports import RankReports, Reporter
from linftui.rundir.records import ErrorRecord, RankReport


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
    for rank, letter in enumerate("aé\x1b\U0001f600"):
        Reporter(pipe.name, rank).fail(failure(letter * 100_000))
    pipe.read()
    for rank, letter in enumerate("aé\x1b\U0001f600"):
        message = pipe.errors[rank].message
        assert message == letter * len(message) and len(message) >= 200


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


def test_a_rank_whose_work_is_stuck_shows_no_life(pipe: RankReports, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("STUCK_S", 0.3), ("STUCK_STEPS", 5), ("BEAT_S", 0.02)):
        monkeypatch.setattr(reports, name, value)
    monkeypatch.setattr(reports, "SILENT_S", 0.2)
    reporter = Reporter(pipe.name, 0)
    reporter.show_life()

    def silent_after(seconds: float) -> int | None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.02)
            pipe.read()
        return pipe.silent_rank()

    assert silent_after(1.0) is None  # it loads, for as long as that takes
    reporter.move()
    assert silent_after(0.2) is None
    reporter.move()
    assert silent_after(2.5) == 0  # five times as long as its longest step, and more
    reporter.move()
    assert silent_after(0.5) is None


def test_a_rank_that_never_comes_to_life_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "SILENT_S", 0.1)
    monkeypatch.setattr(reports, "STARTING_S", 0.2)
    pipe = RankReports(2)
    for _ in range(10):
        Reporter(pipe.name, 0)._write(RankReport(rank=0))
        pipe.read()
        time.sleep(0.05)
    assert pipe.silent_rank() == 1
    pipe.close()


def test_a_rank_says_so_once_its_first_step_is_done(pipe: RankReports) -> None:
    reporter = Reporter(pipe.name, 0)
    for moves, begun in ((0, False), (1, False), (1, True), (1, True)):
        for _ in range(moves):
            reporter.move()
        pipe.read()
        assert pipe.begun is begun


def test_a_first_step_that_was_reported_into_a_full_pipe_is_reported_again(
    pipe: RankReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "BEAT_S", 0.02)
    reporter = Reporter(pipe.name, 0)
    for _ in range(10_000):
        reporter._write(RankReport(rank=0))
    reporter.move()
    reporter.move()
    pipe.read()
    assert not pipe.begun
    reporter.show_life()
    deadline = time.monotonic() + 30
    while not pipe.begun and time.monotonic() < deadline:
        time.sleep(0.02)
        pipe.read()
    assert pipe.begun
