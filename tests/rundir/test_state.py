"""The state of a run follows from the evidence, whatever that is."""

import os
import shutil
import time
from pathlib import Path
from typing import get_args

import pytest
from msgspec import structs

from linftui.errors import RunDirectoryError
from linftui.rundir import liveness
from linftui.rundir.liveness import SILENCE_S, Life, describe_process, folder_identity, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import ExitRecord, ProcessRecord, StateRecord, StopRequest
from linftui.rundir.state import FROZEN_S, State, derive_state, run_state
from linftui.rundir.writer import write_record

HERE = this_host()
REBOOTED = structs.replace(HERE, boot_id="2")
ELSEWHERE = structs.replace(HERE, name="elsewhere", boot_id="3")
SUPERVISOR = ProcessRecord(role="supervisor", pid=2**22 + 1, start_time=1, uid=0)  # above the highest pid
RANK = ProcessRecord(role="rank-0", pid=2**22 + 2, start_time=2, uid=0)

PENDING, STARTING, RUNNING = (
    StateRecord(
        attempt=2, phase=phase, host=HERE, members=[SUPERVISOR, RANK], devices=["cpu"], threads=1, time=0.0
    )
    for phase in ("pending", "starting", "running")
)


def ended(outcome: str, attempt: int = 2) -> ExitRecord:
    code = 0 if outcome in ("finished", "stopped") else 1
    return ExitRecord(attempt=attempt, outcome=outcome, code=code, time=0.0)


Case = tuple[State, StateRecord | None, ExitRecord | None, Life, bool, bool]

# state, state.json, exit.json, its processes, stop requested, a copy of the run's folder
EVIDENCE: list[Case] = [
    ("pending", None, None, "gone", False, False),
    ("finished", None, ended("finished"), "gone", True, False),  # somebody deleted a damaged state.json
    ("pending", PENDING, None, "alive", False, False),
    ("starting", STARTING, None, "alive", False, False),
    ("running", RUNNING, None, "alive", False, False),
    ("running", RUNNING, ended("finished", attempt=1), "alive", False, False),
    ("stopping", RUNNING, None, "alive", True, False),
    ("stopping", STARTING, None, "alive", True, False),
    ("finished", RUNNING, ended("finished"), "gone", False, False),
    ("finished", RUNNING, ended("finished"), "alive", True, False),  # said before the processes are gone
    ("stopped", RUNNING, ended("stopped"), "gone", True, False),
    ("failed", RUNNING, ended("failed"), "gone", False, False),
    ("failed", STARTING, ended("failed"), "lost", False, False),
    ("crashed", RUNNING, ended("crashed"), "gone", False, False),
    ("crashed", RUNNING, None, "gone", False, False),
    ("crashed", STARTING, None, "gone", True, False),
    ("crashed", RUNNING, ended("finished", attempt=1), "gone", False, False),
    ("lost", RUNNING, None, "lost", False, False),
    ("lost", RUNNING, None, "lost", True, False),
    ("stopped", RUNNING, None, "alive", False, True),  # the original runs, its copy does not
    ("stopped", RUNNING, None, "lost", True, True),
    ("crashed", RUNNING, None, "gone", True, True),
    ("failed", RUNNING, ended("failed"), "gone", False, True),
]


@pytest.mark.parametrize("case", EVIDENCE, ids=range(len(EVIDENCE)))
def test_the_state_is_what_the_evidence_supports(case: Case) -> None:
    expected, state, exit, life, stop, copied = case
    assert derive_state(state, exit, stop_requested=stop, life=life, copied=copied) == expected


def test_the_table_covers_every_state() -> None:
    assert {case[0] for case in EVIDENCE} == set(get_args(State))


class TestRunState:
    @pytest.fixture
    def paths(self, tmp_path: Path) -> RunPaths:
        paths = RunPaths(tmp_path / "run")
        paths.control.mkdir(parents=True)
        return paths

    def test_an_empty_directory_is_pending(self, paths: RunPaths) -> None:
        assert run_state(paths) == "pending"

    def test_a_run_whose_processes_are_gone_has_crashed(self, paths: RunPaths) -> None:
        write_record(paths.state, structs.replace(RUNNING, members=[]))
        assert run_state(paths) == "crashed"

    def test_a_stop_request_concerns_one_attempt_only(self, paths: RunPaths) -> None:
        write_record(paths.state, structs.replace(RUNNING, host=ELSEWHERE))
        write_record(paths.stop_request(1), StopRequest(attempt=1, time=0.0, by="me"))
        assert run_state(paths) == "running"
        write_record(paths.stop_request(2), StopRequest(attempt=2, time=0.0, by="me"))
        assert run_state(paths) == "stopping"

    def test_a_run_elsewhere_is_lost_once_nothing_is_written_any_more(self, paths: RunPaths) -> None:
        write_record(paths.state, structs.replace(RUNNING, host=ELSEWHERE))
        paths.metrics.touch()
        long_ago = time.time() - 2 * SILENCE_S
        os.utime(paths.state, (long_ago, long_ago))
        assert run_state(paths) == "running"
        os.utime(paths.metrics, (long_ago, long_ago))
        assert run_state(paths) == "lost"

    def test_a_run_that_ends_just_while_it_is_looked_at_has_not_crashed(
        self, paths: RunPaths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_record(paths.state, RUNNING)

        def ends(process: ProcessRecord) -> bool:
            write_record(paths.exit, ended("finished"))
            return False

        monkeypatch.setattr(liveness, "is_alive", ends)
        assert run_state(paths) == "finished"

    def test_a_run_from_before_the_machine_was_started_again_has_crashed(self, paths: RunPaths) -> None:
        write_record(paths.state, structs.replace(RUNNING, host=REBOOTED))
        assert run_state(paths) == "crashed"

    def test_a_copy_of_a_run_that_is_going_on_is_stopped(self, paths: RunPaths, tmp_path: Path) -> None:
        me = describe_process(os.getpid(), "rank-0")
        assert me is not None
        write_record(paths.state, structs.replace(RUNNING, members=[me], folder=folder_identity(paths.root)))
        copy = RunPaths(shutil.copytree(paths.root, tmp_path / "copy"))
        assert (run_state(paths), run_state(copy)) == ("running", "stopped")
        moved = RunPaths(paths.root.rename(tmp_path / "moved"))
        assert run_state(moved) == "running"

    def test_a_run_that_is_watched_from_another_host_is_known_by_its_inode(self, paths: RunPaths) -> None:
        _, _, inode = folder_identity(paths.root).partition(":")
        for folder, state in ((f"77:{inode}", "running"), (f"77:{inode}1", "stopped"), ("", "running")):
            write_record(paths.state, structs.replace(RUNNING, host=ELSEWHERE, folder=folder))
            assert run_state(paths) == state

    def test_a_supervisor_without_ranks_that_shows_no_life_has_crashed(self, paths: RunPaths) -> None:
        me = describe_process(os.getpid(), "supervisor")
        assert me is not None
        write_record(paths.state, structs.replace(RUNNING, members=[me, RANK]))
        assert run_state(paths) == "running"  # it is about to say how it ended
        long_ago = time.time() - FROZEN_S - 1
        os.utime(paths.state, (long_ago, long_ago))
        assert run_state(paths) == "crashed"
        write_record(paths.state, structs.replace(RUNNING, members=[me, structs.replace(me, role="rank-0")]))
        os.utime(paths.state, (long_ago, long_ago))
        assert run_state(paths) == "running"  # frozen, or busy; its rank lives

    @pytest.mark.parametrize("file", ["state", "exit"])
    def test_a_damaged_file_is_an_error_and_not_a_guess(self, paths: RunPaths, file: str) -> None:
        write_record(paths.state, RUNNING)
        getattr(paths, file).write_bytes(b'{"v":1,')
        with pytest.raises(RunDirectoryError, match=f"{file}.json: cannot be read"):
            run_state(paths)
