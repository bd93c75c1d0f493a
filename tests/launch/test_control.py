"""Asking a run to stop, and making sure that nobody is left of it, without ending a bystander."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from linftui.errors import RunStateError
from linftui.launch.control import _kill, clear_for_next_attempt, request_stop
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import ExitRecord, ProcessRecord, StateRecord
from linftui.rundir.state import SILENCE_S, run_state, stop_request
from linftui.rundir.writer import write_record

GONE = ProcessRecord(role="supervisor", pid=2**22 + 1, start_time=1, uid=os.getuid())  # above the highest pid
ELSEWHERE = structs.replace(this_host(), boot_id="another boot")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    # Named like one of ours: a stranger's state.json must not make us wait for, or end, anything else.
    with subprocess.Popen(["linftui-sleep", "60"], executable="/bin/sleep") as process:
        yield process
        process.kill()


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path)
    paths.control.mkdir()
    return paths


def described(process: subprocess.Popen[bytes], role: str = "rank-0") -> ProcessRecord:
    record = describe_process(process.pid, role)
    assert record is not None
    return record


def write_state(paths: RunPaths, *members: ProcessRecord, attempt: int = 1) -> StateRecord:
    state = StateRecord(
        attempt=attempt, phase="running", host=this_host(), members=list(members), devices=["cpu"], threads=1,
        time=time.time(),
    )  # fmt: skip
    write_record(paths.state, state)
    return state


class TestRequestStop:
    def test_a_request_is_seen_by_the_attempt_it_is_for(self, paths: RunPaths) -> None:
        request_stop(paths, 2, "SIGINT")
        request = stop_request(paths, 2)
        assert request is not None and (request.attempt, request.by) == (2, "SIGINT")
        assert stop_request(paths, 1) is stop_request(paths, 3) is None

    def test_a_second_request_leaves_the_first(self, paths: RunPaths) -> None:
        request_stop(paths, 1, "SIGINT")
        first = stop_request(paths, 1)
        request_stop(paths, 1, "SIGTERM")
        assert stop_request(paths, 1) == first


class TestClearForNextAttempt:
    def test_a_new_run_begins_with_attempt_one(self, paths: RunPaths) -> None:
        assert clear_for_next_attempt(paths) == 1

    def test_an_attempt_that_ended_is_followed_by_the_next(self, paths: RunPaths) -> None:
        write_state(paths, GONE, attempt=4)
        write_record(paths.exit, ExitRecord(attempt=4, outcome="stopped", code=0, time=0.0))
        assert clear_for_next_attempt(paths) == 5

    def test_a_number_is_not_used_twice_even_where_an_attempt_died_before_it_said_so(
        self, paths: RunPaths
    ) -> None:
        paths.logs(1).mkdir(parents=True)
        paths.logs(12).mkdir()
        assert clear_for_next_attempt(paths) == 13
        write_state(paths, GONE, attempt=4)
        assert clear_for_next_attempt(paths) == 13

    def test_a_run_whose_supervisor_lives_is_refused(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, described(sleeper, "supervisor"))
        with pytest.raises(RunStateError, match=f"is still running .process {sleeper.pid}.; stop it first"):
            clear_for_next_attempt(paths)
        assert sleeper.poll() is None

    def test_a_process_with_the_supervisors_pid_is_not_the_supervisor(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        supervisor = described(sleeper, "supervisor")
        write_state(paths, structs.replace(supervisor, start_time=supervisor.start_time - 1))
        assert clear_for_next_attempt(paths, grace_s=0.0) == 2
        assert sleeper.poll() is None

    def test_a_run_on_another_host_is_refused_until_it_is_lost(self, paths: RunPaths) -> None:
        write_record(paths.state, structs.replace(write_state(paths), host=ELSEWHERE))
        with pytest.raises(RunStateError, match=f"runs on {ELSEWHERE.name}; stop it there first"):
            clear_for_next_attempt(paths)
        long_ago = time.time() - 2 * SILENCE_S
        os.utime(paths.state, (long_ago, long_ago))
        assert run_state(paths) == "lost"
        assert clear_for_next_attempt(paths) == 2

    def test_a_run_that_ended_on_another_host_goes_on_here(self, paths: RunPaths) -> None:
        write_record(paths.state, structs.replace(write_state(paths), host=ELSEWHERE))
        write_record(paths.exit, ExitRecord(attempt=1, outcome="stopped", code=0, time=0.0))
        assert clear_for_next_attempt(paths) == 2

    def test_a_rank_that_outlived_its_supervisor_is_waited_for(self, paths: RunPaths) -> None:
        with subprocess.Popen(["sleep", "0.5"]) as rank:
            write_state(paths, GONE, described(rank))
            assert clear_for_next_attempt(paths) == 2
            assert rank.wait() == 0

    def test_a_rank_that_does_not_leave_is_killed_after_its_grace(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, GONE, described(sleeper))
        assert clear_for_next_attempt(paths, grace_s=0.1) == 2
        assert sleeper.wait() == -9

    def test_a_process_that_is_not_linftuis_is_left_alone_whatever_the_state_says(
        self, paths: RunPaths
    ) -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            write_state(paths, GONE, described(process))
            assert clear_for_next_attempt(paths, grace_s=0.1) == 2
            assert process.poll() is None
            process.kill()


class TestKill:
    def test_the_recorded_process_is_ended(self, sleeper: subprocess.Popen[bytes]) -> None:
        _kill(described(sleeper))
        assert sleeper.wait() == -9

    def test_a_process_with_another_start_time_is_spared(self, sleeper: subprocess.Popen[bytes]) -> None:
        process = described(sleeper)
        for start_time in (process.start_time - 1, process.start_time + 1):
            _kill(structs.replace(process, start_time=start_time))
        time.sleep(0.05)  # long enough for a signal to arrive
        assert sleeper.poll() is None

    def test_a_process_of_another_user_is_refused(self, sleeper: subprocess.Popen[bytes]) -> None:
        process = described(sleeper)
        with pytest.raises(RunStateError, match="belongs to another user"):
            _kill(structs.replace(process, uid=process.uid + 1))
        time.sleep(0.05)
        assert sleeper.poll() is None

    def test_a_process_that_is_gone_is_no_error(self, sleeper: subprocess.Popen[bytes]) -> None:
        process = described(sleeper)
        sleeper.kill()
        sleeper.wait()
        _kill(process)
