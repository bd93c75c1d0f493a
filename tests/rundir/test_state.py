"""The state of a run follows from the evidence, whatever that is."""

import os
import time
from pathlib import Path

import pytest
from msgspec import structs

from linftui.errors import RunDirectoryError
from linftui.rundir import state as state_module
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import ExitRecord, HostRecord, ProcessRecord, StateRecord, StopRequest
from linftui.rundir.state import SILENCE_S, State, derive_state, run_state
from linftui.rundir.writer import write_record

HERE = HostRecord(name="here", boot_id="1", pid_namespace="pid:[1]")
REBOOTED = structs.replace(HERE, boot_id="2")
CONTAINER = structs.replace(HERE, pid_namespace="pid:[2]")
SUPERVISOR = ProcessRecord(role="supervisor", pid=10, start_time=1, uid=0)
RANK = ProcessRecord(role="rank-0", pid=11, start_time=2, uid=0)
BOTH = (SUPERVISOR, RANK)

PENDING, STARTING, RUNNING = (
    StateRecord(
        attempt=2, phase=phase, host=HERE, members=list(BOTH), devices=["cpu"], threads=1, time=0.0
    )
    for phase in ("pending", "starting", "running")
)  # fmt: skip


def ended(outcome: str, attempt: int = 2) -> ExitRecord:
    code = 0 if outcome in ("finished", "stopped") else 1
    return ExitRecord(attempt=attempt, outcome=outcome, code=code, time=0.0)


Case = tuple[State, StateRecord | None, ExitRecord | None, tuple[ProcessRecord, ...], bool, float, HostRecord]

# state, state.json, exit.json, living processes, stop requested, seconds of silence, host it is asked on
EVIDENCE: list[Case] = [
    ("pending", None, None, (), False, 0.0, HERE),
    ("finished", None, ended("finished"), (), True, 1e9, HERE),  # somebody deleted a damaged state.json
    ("pending", PENDING, None, BOTH, False, 0.0, HERE),
    ("starting", STARTING, None, (SUPERVISOR,), False, 0.0, HERE),
    ("running", RUNNING, None, BOTH, False, 0.0, HERE),
    ("running", RUNNING, None, BOTH, False, 1e9, HERE),  # silence says nothing where pids can be looked at
    ("running", RUNNING, None, (RANK,), False, 0.0, HERE),  # an orphan that is still saving
    ("running", RUNNING, None, (SUPERVISOR,), False, 0.0, HERE),
    ("running", RUNNING, ended("finished", attempt=1), BOTH, False, 0.0, HERE),
    ("stopping", RUNNING, None, BOTH, True, 0.0, HERE),
    ("stopping", STARTING, None, BOTH, True, 0.0, HERE),
    ("stopping", RUNNING, None, (), True, 0.0, REBOOTED),
    ("finished", RUNNING, ended("finished"), (), False, 0.0, HERE),
    ("finished", RUNNING, ended("finished"), BOTH, True, 0.0, HERE),  # said before the processes are gone
    ("stopped", RUNNING, ended("stopped"), (), True, 1e9, HERE),
    ("failed", RUNNING, ended("failed"), (), False, 0.0, HERE),
    ("failed", STARTING, ended("failed"), (), False, 1e9, REBOOTED),
    ("crashed", RUNNING, ended("crashed"), (), False, 0.0, HERE),
    ("crashed", RUNNING, None, (), False, 0.0, HERE),
    ("crashed", STARTING, None, (), True, 0.0, HERE),
    ("crashed", RUNNING, ended("finished", attempt=1), (), False, 0.0, HERE),
    ("crashed", structs.replace(STARTING, members=[]), None, (), False, 0.0, HERE),
    ("running", RUNNING, None, (), False, SILENCE_S - 1, REBOOTED),
    ("lost", RUNNING, None, BOTH, False, SILENCE_S + 1, REBOOTED),
    ("lost", RUNNING, None, BOTH, True, SILENCE_S + 1, CONTAINER),  # pids of a container mean nothing here
    ("running", RUNNING, None, (), False, 0.0, CONTAINER),
]  # fmt: skip


@pytest.mark.parametrize("case", EVIDENCE, ids=range(len(EVIDENCE)))
def test_the_state_is_what_the_evidence_supports(
    case: Case,
) -> None:
    expected, state, exit, living, stop, silent, host = case
    derived = derive_state(
        state, exit, stop_requested=stop, silent_s=silent, host=host, alive=living.__contains__
    )
    assert derived == expected


def test_the_table_covers_all_nine_states() -> None:
    assert {case[0] for case in EVIDENCE} == {
        "pending", "starting", "running", "stopping", "stopped", "finished", "failed", "crashed", "lost",
    }  # fmt: skip


class TestRunState:
    @pytest.fixture
    def paths(self, tmp_path: Path) -> RunPaths:
        paths = RunPaths(tmp_path)
        paths.control.mkdir()
        return paths

    def test_an_empty_directory_is_pending(self, paths: RunPaths) -> None:
        assert run_state(paths) == "pending"

    def test_a_run_whose_processes_are_gone_has_crashed(self, paths: RunPaths) -> None:
        write_record(paths.state, structs.replace(RUNNING, host=this_host(), members=[]))
        assert run_state(paths) == "crashed"

    def test_a_stop_request_concerns_one_attempt_only(self, paths: RunPaths) -> None:
        write_record(paths.state, structs.replace(RUNNING, host=REBOOTED))
        write_record(paths.stop_request(1), StopRequest(attempt=1, time=0.0, by="me"))
        assert run_state(paths) == "running"
        write_record(paths.stop_request(2), StopRequest(attempt=2, time=0.0, by="me"))
        assert run_state(paths) == "stopping"

    def test_a_run_elsewhere_is_lost_once_nothing_is_written_any_more(self, paths: RunPaths) -> None:
        write_record(paths.state, structs.replace(RUNNING, host=REBOOTED))
        paths.metrics.touch()
        long_ago = time.time() - 2 * SILENCE_S
        os.utime(paths.state, (long_ago, long_ago))
        assert run_state(paths) == "running"
        os.utime(paths.metrics, (long_ago, long_ago))
        assert run_state(paths) == "lost"

    def test_a_run_that_ends_just_while_it_is_looked_at_has_not_crashed(
        self, paths: RunPaths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_record(paths.state, structs.replace(RUNNING, host=this_host()))

        def ends(process: ProcessRecord) -> bool:
            write_record(paths.exit, ended("finished"))
            return False

        monkeypatch.setattr(state_module, "is_alive", ends)
        assert run_state(paths) == "finished"

    @pytest.mark.parametrize("file", ["state", "exit"])
    def test_a_damaged_file_is_an_error_and_not_a_guess(self, paths: RunPaths, file: str) -> None:
        write_record(paths.state, structs.replace(RUNNING, host=this_host()))
        getattr(paths, file).write_bytes(b'{"v":1,')
        with pytest.raises(RunDirectoryError, match=f"{file}.json: cannot be read"):
            run_state(paths)
