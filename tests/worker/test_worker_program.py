"""A worker knows its options by their types, and tells a failure wherever somebody may look for it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from linftui.launch.plan import LaunchPlan
from linftui.processes.reports import RankReports
from linftui.rundir.paths import CertifyLogPaths, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ErrorRecord
from linftui.worker.__main__ import parse_arguments
from linftui.worker.certify import CertifyProgram
from linftui.worker.train import TrainProgram

ONE, TWO = (LaunchPlan(devices=("cpu",) * ranks, threads=3) for ranks in (1, 2))
TRAIN = ("train", "/run", "--attempt", "2", "--nonce", "ab", "--supervisor-pipe", "1:2:3")
SHARED = {"run": Path("/run"), "device": "cpu", "threads": 3, "supervisor_pipe": "1:2:3"}


def test_a_rank_knows_its_attempt_and_where_it_meets_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = parse_arguments(ONE.training_command(Path("/meet"), *TRAIN)[4:])
    shared = {**SHARED, "report_pipe": None, "attempt": 2, "nonce": "ab", "checkpoint": None}
    assert alone == TrainProgram(**shared, rendezvous=None)
    assert (alone.rank, alone.may_wait_forever) == (0, False)
    monkeypatch.setenv("RANK", "1")
    command = TWO.training_command(Path("/meet"), *TRAIN)
    second = parse_arguments(command[command.index("linftui.worker") + 1 :])
    assert second == TrainProgram(**shared, rendezvous=Path("/meet"))
    assert (second.rank, second.may_wait_forever) == (1, True)
    assert second.error_file == RunPaths(Path("/run")).error(2, 1)


def test_a_certification_knows_its_request_and_nothing_of_attempts() -> None:
    command = ONE.worker_command(*("certify", "/run", "--request", "/logs/request.json"))
    program = parse_arguments([*command[4:], "--supervisor-pipe", "1:2:3", "--report-pipe", "4:5:6"])
    assert program == CertifyProgram(**SHARED, report_pipe="4:5:6", request=Path("/logs/request.json"))
    assert program.error_file == Path("/logs/error.json") and program.may_wait_forever


@pytest.fixture
def reports() -> Iterator[RankReports]:
    reports = RankReports()
    yield reports
    reports.close()


def run_worker(reports: RankReports, *task: str) -> subprocess.CompletedProcess[str]:
    command = ONE.worker_command(*task, "--report-pipe", reports.name)
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=120)
    reports.read()
    return done


def test_a_failure_is_told_in_the_log_the_error_file_and_the_report(
    tmp_path: Path, reports: RankReports
) -> None:
    paths = RunPaths(tmp_path / "run")
    paths.logs(1).mkdir(parents=True)
    done = run_worker(reports, "train", str(paths.root), "--attempt", "1", "--nonce", "ab")
    told = read_record(paths.error(1, 0), ErrorRecord)
    assert told is not None and reports.errors == {0: told}
    assert (told.error, told.exit_code, done.returncode) == ("RunDirectoryError", 1, 1)
    assert told.message in done.stdout and done.stdout.startswith("Traceback") and done.stderr == ""
    assert os.listdir(paths.logs(1)) == ["error-0.json"]


def test_where_there_is_no_room_for_an_error_file_a_failure_is_reported_all_the_same(
    tmp_path: Path, reports: RankReports
) -> None:
    logs = CertifyLogPaths(tmp_path / "run" / "logs" / "certify-1")
    (tmp_path / "run").mkdir()
    done = run_worker(reports, "certify", str(tmp_path / "run"), "--request", str(logs.request))
    assert reports.errors[0].message.endswith("worker.json: cannot be written: No such file or directory")
    assert done.returncode == 1 and not logs.root.exists()


def test_the_programs_are_chosen_by_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "linftui.worker", "prove"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "invalid choice: 'prove' (choose from" in done.stderr
