"""How an attempt ended follows from what its processes left: exit code, error files, the last event."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from linftui.launch.outcome import attempt_outcome
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import (
    ErrorRecord,
    EventName,
    EventRecord,
    ExitRecord,
    StopRequest,
    TrainerRecord,
    encode,
)
from linftui.rundir.writer import LineAppender, write_record

KILLED = "was killed by SIGKILL, perhaps because it used too much memory"
LOST = ("RankLostError", "the connection to another rank was lost")


@pytest.fixture(autouse=True)
def logs(paths: RunPaths) -> Path:
    paths.logs(1).mkdir(parents=True)
    return paths.logs(1)


def says(paths: RunPaths, rank: int, error: tuple[str, str], time: float, exit_code: int = 1) -> None:
    kind, message = error
    record = ErrorRecord(error=kind, message=message, hint="a hint", exit_code=exit_code, time=time)
    write_record(paths.error(1, rank), record)


def happens(paths: RunPaths, event: EventName, attempt: int = 1) -> None:
    log = LineAppender(paths.events)
    log.append(encode(EventRecord(attempt=attempt, step=3, time=0.0, event=event)))
    log.close()


def judged(paths: RunPaths, *, ranks: int, code: int, **seen: Any) -> tuple[str, int, str]:
    ended = attempt_outcome(paths, 1, ranks, code, **seen)
    assert ended.attempt == 1
    return ended.outcome, ended.code, ended.message


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("code", [0, 1, -9])
@pytest.mark.parametrize("event", ["finished", "stopped"])
def test_what_was_saved_to_the_end_has_ended_well_however_its_processes_left(
    paths: RunPaths, ranks: int, code: int, event: EventName
) -> None:
    happens(paths, event)
    says(paths, ranks - 1, LOST, time=1.0)
    write_record(paths.kill_request(1), StopRequest(attempt=1, time=0.0, by="me"))
    assert judged(paths, ranks=ranks, code=code) == (event, code, "")


def test_the_end_of_an_earlier_attempt_is_not_the_end_of_this_one(paths: RunPaths) -> None:
    happens(paths, "finished", attempt=2)
    assert judged(paths, ranks=1, code=-9)[0] == "crashed"
    happens(paths, "finished")
    happens(paths, "checkpoint")
    assert judged(paths, ranks=1, code=-9)[0] == "crashed"


@pytest.mark.parametrize("ranks", [1, 2])
def test_what_was_asked_to_end_at_once_was_stopped(paths: RunPaths, ranks: int) -> None:
    write_record(paths.kill_request(1), StopRequest(attempt=1, time=0.0, by="me"))
    assert judged(paths, ranks=ranks, code=-9) == ("stopped", -9, "ended without saving")


def test_the_first_failure_is_the_cause(paths: RunPaths) -> None:
    says(paths, 0, ("TrainingError", "because the first had failed"), time=20.0)
    says(paths, 1, ("DataError", "the first to fail"), time=10.0, exit_code=2)
    assert judged(paths, ranks=2, code=1) == ("failed", 2, "the first to fail")
    assert attempt_outcome(paths, 1, 2, 1).hint == "a hint"


def test_a_lost_connection_is_not_the_cause_even_if_it_was_told_first(paths: RunPaths) -> None:
    says(paths, 0, LOST, time=10.0)
    says(paths, 1, ("OSError", "the cause"), time=20.0)
    assert judged(paths, ranks=2, code=1) == ("failed", 1, "the cause")


@pytest.mark.parametrize("silent", [0, 1, 2])
def test_if_the_others_only_lost_a_connection_the_silent_one_is_the_cause(
    paths: RunPaths, silent: int
) -> None:
    for rank in {0, 1, 2} - {silent}:
        says(paths, rank, LOST, time=10.0)
    ended = attempt_outcome(paths, 1, 3, 1)
    assert ended.outcome == "crashed"
    assert ended.message == f"rank {silent} died and left no message"
    assert ended.hint == f"its log is {paths.rank_log(1, silent)}"


def test_a_rank_that_was_seen_to_go_first_is_the_cause_even_if_the_others_say_nothing(
    paths: RunPaths,
) -> None:
    message = "rank 1 died and left no message"
    assert judged(paths, ranks=3, code=1, lost=1) == ("crashed", 1, message)
    says(paths, 2, LOST, time=10.0)
    assert judged(paths, ranks=3, code=1, lost=1) == ("crashed", 1, message)


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        (-11, "was killed by SIGSEGV"),
        (-9, KILLED),
        (-63, "was killed by signal 63"),
        (3, "ended with exit code 3"),
    ],
)
def test_what_torchrun_has_seen_of_a_silent_rank_is_told(paths: RunPaths, code: int, fate: str) -> None:
    says(paths, 0, LOST, time=10.0)
    paths.torchrun_log(1).write_text(
        f"E failed (exitcode: 1) local_rank: 0 (pid: 7) of binary: /python\n"
        f"E failed (exitcode: {code}) local_rank: 1 (pid: 8) of binary: /python\n  traceback\n"
    )
    assert judged(paths, ranks=2, code=1) == ("crashed", 1, f"rank 1 {fate}")


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("a line\nValueError: Unknown level: 'debug'\n\n", "ValueError: Unknown level: 'debug'"),
        (
            "Fatal Python error: Aborted\n\nThread 1:\n  File x\nExtension modules: y\n",
            "Fatal Python error: Aborted",
        ),
        ("x" * 300 + "\n", "x" * 200),
    ],
)
def test_the_last_line_of_the_log_may_be_the_cause(paths: RunPaths, text: str, last: str) -> None:
    paths.torchrun_log(1).write_text(text)
    hint = attempt_outcome(paths, 1, 2, 1).hint
    assert hint == f"its log is {paths.torchrun_log(1)}, which ends with: {last}"


def test_what_a_rank_could_not_write_down_but_reported_counts_as_well(paths: RunPaths) -> None:
    full = ErrorRecord(
        error="RunDirectoryError", message="the disk is full", hint="free some space", exit_code=1, time=20.0
    )
    says(paths, 1, LOST, time=10.0)
    assert judged(paths, ranks=2, code=1, reported={0: full}) == ("failed", 1, "the disk is full")
    assert judged(paths, ranks=1, code=1, reported={0: full}) == ("failed", 1, "the disk is full")


def test_a_rank_that_hung_is_named_unless_somebody_failed_before(paths: RunPaths) -> None:
    says(paths, 0, LOST, time=10.0)
    message = "rank 1 hung: it gave no sign of life for 30 s"
    assert judged(paths, ranks=2, code=-9, hung=1) == ("crashed", -9, message)
    says(paths, 0, ("OSError", "the cause"), time=20.0)
    assert judged(paths, ranks=2, code=-9, hung=1) == ("failed", 1, "the cause")


def test_if_all_lost_a_connection_nobody_is_said_to_have_died(paths: RunPaths) -> None:
    for rank in range(2):
        says(paths, rank, LOST, time=10.0)
    assert judged(paths, ranks=2, code=1) == ("crashed", 1, "torchrun ended with exit code 1")


@pytest.mark.parametrize(
    ("ranks", "code", "message", "log"),
    [
        (
            1,
            -9,
            f"the training process {KILLED}",
            "rank-0.log",
        ),
        (1, 3, "the training process ended with exit code 3", "rank-0.log"),
        (2, -9, f"torchrun {KILLED}", "torchrun.log"),
        (2, 1, "torchrun ended with exit code 1", "torchrun.log"),
    ],
)
def test_where_nobody_says_anything_it_is_the_started_process(
    paths: RunPaths, ranks: int, code: int, message: str, log: str
) -> None:
    ended = attempt_outcome(paths, 1, ranks, code)
    assert (ended.outcome, ended.code, ended.message) == ("crashed", code, message)
    assert ended.hint == f"its log is {paths.logs(1) / log}"


def test_a_worker_that_left_in_good_order_was_stopped(paths: RunPaths) -> None:
    assert judged(paths, ranks=1, code=0) == ("stopped", 0, "")


@pytest.mark.parametrize(
    ("step", "evaluated", "code", "outcome"),
    [
        (36, True, 0, "finished"),
        (36, False, 0, "stopped"),
        (24, True, 0, "stopped"),
        (36, True, -9, "crashed"),
    ],
)
def test_without_events_the_exit_code_and_the_last_checkpoint_tell_how_it_ended(
    paths: RunPaths, finished_run: Path, step: int, evaluated: bool, code: int, outcome: str
) -> None:
    finished = RunPaths(finished_run)
    shutil.copy(finished.meta, paths.meta)
    record = read_record(finished.checkpoint(36).trainer, TrainerRecord)
    assert record is not None
    saved = paths.checkpoint(step)
    saved.root.mkdir(parents=True)
    saved.complete.touch()
    write_record(saved.trainer, structs.replace(record, step=step, evaluated=evaluated))
    paths.events.symlink_to(finished.events)
    found, said_code, message = judged(paths, ranks=1, code=code)
    assert (found, said_code) == (outcome, code)
    assert f"judged by its exit code, since {paths.events}: cannot be read" in message
    assert message.startswith(f"the training process {KILLED}; " if code else "judged")


def test_a_damaged_error_file_counts_as_silence(paths: RunPaths) -> None:
    says(paths, 0, LOST, time=10.0)
    paths.error(1, 1).write_text("{")
    assert judged(paths, ranks=2, code=1)[2].startswith("rank 1 died and left no message")


def test_the_verdict_is_a_record_that_can_be_kept(paths: RunPaths) -> None:
    says(paths, 0, ("RunDirectoryError", "no space left \udcff"), time=1.0)
    write_record(paths.exit, attempt_outcome(paths, 1, 1, 1))
    assert isinstance(attempt_outcome(paths, 1, 1, 1), ExitRecord) and paths.exit.stat().st_size
