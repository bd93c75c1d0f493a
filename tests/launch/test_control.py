"""Asking a run to stop, and making sure that nobody is left of it, without ending a bystander."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from msgspec import structs
from support.stand_ins import ELSEWHERE, GONE, announce, described, is_spared, pretend_to_work_for

from linftui.errors import RunDirectoryError, RunStateError
from linftui.launch.control import clear_for_next_attempt, stop_run
from linftui.rundir.liveness import SILENCE_S, is_alive, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ExitRecord, HostRecord, ProcessRecord, StateRecord, StopRequest
from linftui.rundir.state import FROZEN_S, run_state
from linftui.rundir.writer import write_record


def write_state(
    paths: RunPaths, *members: ProcessRecord, attempt: int = 1, host: HostRecord | None = None
) -> StateRecord:
    state = StateRecord(
        attempt=attempt, phase="running", host=host or this_host(), members=list(members), devices=["cpu"],
        threads=1, time=time.time(),
    )  # fmt: skip
    write_record(paths.state, state)
    return state


class TestStopRun:
    def test_who_asks_first_leaves_a_request_and_ends_nobody(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, GONE, described(sleeper), attempt=2)
        stop_run(paths, "somebody", deadline_s=7.0)
        request = read_record(paths.stop_request(2), StopRequest)
        assert request is not None
        assert (request.attempt, request.by, request.deadline_s) == (2, "somebody", 7.0)
        assert run_state(paths) == "stopping"
        assert [path.name for path in paths.control.iterdir()] == ["stop-002.json"]
        assert is_spared(sleeper)

    def test_two_who_ask_once_end_nobody(self, paths: RunPaths, sleeper: subprocess.Popen[bytes]) -> None:
        write_state(paths, GONE, described(sleeper))
        assert not stop_run(paths, "the first") and not stop_run(paths, "the second")
        request = read_record(paths.stop_request(1), StopRequest)
        assert request is not None and request.by == "the first"
        assert is_spared(sleeper) and not paths.kill_request(1).exists()

    def test_one_may_be_ended_that_nobody_has_asked(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, GONE, described(sleeper))
        assert stop_run(paths, "me", at_once=True)
        assert sleeper.wait() == -signal.SIGKILL
        assert paths.stop_request(1).exists() and paths.kill_request(1).exists()

    def test_who_ends_it_ends_the_members_and_waits_for_the_supervisor_to_say_so(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        with pretend_to_work_for(paths, "linftui.launch.supervisor", seconds=2.0) as supervisor:
            write_state(paths, described(supervisor, "supervisor"), described(sleeper))
            stop_run(paths, "the first")
            first = paths.stop_request(1).read_bytes()
            assert stop_run(paths, "the second", at_once=True)
            assert sleeper.wait() == -signal.SIGKILL
            assert supervisor.wait() == 0 and not paths.exit.exists()
        again = read_record(paths.kill_request(1), StopRequest)
        assert again is not None and again.by == "the second"
        assert paths.stop_request(1).read_bytes() == first

    def test_a_frozen_supervisor_is_ended_too_and_how_the_run_ended_is_said_in_its_place(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        with pretend_to_work_for(paths, "linftui.launch.supervisor") as supervisor:
            supervisor.send_signal(signal.SIGSTOP)
            write_state(paths, described(supervisor, "supervisor"), described(sleeper))
            stop_run(paths, "me")
            stop_run(paths, "me", at_once=True)
            assert (sleeper.wait(), supervisor.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
        ended = read_record(paths.exit, ExitRecord)
        assert ended is not None and run_state(paths) == "stopped"
        assert ended.message == "ended without saving; its supervisor did not answer"

    def test_a_supervisor_that_is_left_alone_and_says_nothing_can_be_ended(self, paths: RunPaths) -> None:
        with pretend_to_work_for(paths, "linftui.launch.supervisor") as supervisor:
            supervisor.send_signal(signal.SIGSTOP)
            write_state(paths, described(supervisor, "supervisor"), structs.replace(GONE, role="rank-0"))
            assert run_state(paths) == "running"  # it may be about to say how it ended
            long_ago = time.time() - 2 * FROZEN_S
            os.utime(paths.state, (long_ago, long_ago))
            assert run_state(paths) == "crashed"
            assert stop_run(paths, "me")  # there is nobody who could save
            assert supervisor.wait() == -signal.SIGKILL and run_state(paths) == "stopped"

    def test_asking_again_ends_a_rank_that_the_supervisor_did_not_record(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        with pretend_to_work_for(paths) as torchrun:
            write_state(paths, GONE, described(torchrun, "torchrun"))
            announce(paths, described(sleeper, "rank-1"))
            stop_run(paths, "me")
            stop_run(paths, "me", at_once=True)
            assert (torchrun.wait(), sleeper.wait()) == (-signal.SIGKILL, -signal.SIGKILL)

    def test_damage_of_one_announcement_spares_nobody_who_is_known(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, GONE, described(sleeper))
        paths.logs(1).mkdir(parents=True, exist_ok=True)
        paths.member(1, 1).write_text("{")
        stop_run(paths, "me")
        with pytest.raises(RunDirectoryError, match="member-1.json: cannot be read"):
            stop_run(paths, "me", at_once=True)
        assert sleeper.wait() == -signal.SIGKILL

    def test_where_nothing_can_be_written_any_more_a_run_can_still_be_ended(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, GONE, described(sleeper))
        stop_run(paths, "me")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            with pytest.raises(RunDirectoryError, match="kill-001.json: cannot be written"):
                stop_run(paths, "me", at_once=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert sleeper.wait() == -signal.SIGKILL

    def test_a_run_that_lost_its_control_folder_can_be_stopped(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, described(sleeper))
        shutil.rmtree(paths.control)
        stop_run(paths, "me")
        assert run_state(paths) == "stopping"

    def test_a_request_is_for_one_attempt(self, paths: RunPaths, sleeper: subprocess.Popen[bytes]) -> None:
        write_state(paths, described(sleeper), attempt=1)
        stop_run(paths, "me")
        write_state(paths, described(sleeper), attempt=2)
        assert run_state(paths) == "running"
        stop_run(paths, "me")  # the first for this attempt
        assert is_spared(sleeper) and not paths.kill_request(2).exists()

    @pytest.mark.parametrize(
        ("prepare", "state"),
        [
            (lambda paths: None, "pending"),
            (lambda paths: write_state(paths, GONE), "crashed"),
            (lambda paths: ended(paths, "stopped"), "stopped"),
            (lambda paths: ended(paths, "finished"), "finished"),
            (lambda paths: ended(paths, "failed"), "failed"),
            (lambda paths: lost(paths), "lost"),
        ],
    )
    def test_a_run_that_is_not_going_on_is_refused(
        self, paths: RunPaths, prepare: Callable[[RunPaths], None], state: str
    ) -> None:
        prepare(paths)
        with pytest.raises(RunStateError, match=f"run is {state}: there is nothing to stop"):
            stop_run(paths, "me")
        assert list(paths.control.iterdir()) == []

    def test_on_another_host_there_is_but_the_request(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, described(sleeper), host=ELSEWHERE)
        for at_once, request in ((False, paths.stop_request(1)), (True, paths.kill_request(1))):
            stop_run(paths, "me", at_once=at_once)
            assert request.exists()
        assert is_spared(sleeper)

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
    def test_a_run_of_another_user_is_not_ours_to_end(self, paths: RunPaths) -> None:
        with pretend_to_work_for(paths, user=65534) as process:
            write_state(paths, described(process))
            stop_run(paths, "me")
            with pytest.raises(RunStateError, match=f"process {process.pid} of the run belongs to another"):
                stop_run(paths, "me", at_once=True)
            assert is_spared(process)
            process.kill()


def ended(paths: RunPaths, outcome: str) -> None:
    write_state(paths, GONE)
    write_record(paths.exit, ExitRecord(attempt=1, outcome=outcome, code=0, time=0.0))


def lost(paths: RunPaths) -> None:
    write_state(paths, GONE, host=ELSEWHERE)
    os.utime(paths.state, (0, 0))


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

    @pytest.mark.parametrize("number", [999_999, 2**53])
    def test_a_number_that_no_attempt_has_is_refused(self, paths: RunPaths, number: int) -> None:
        write_state(paths, GONE, attempt=number)
        with pytest.raises(RunDirectoryError, match="attempt numbers end at 999,999"):
            clear_for_next_attempt(paths)

    def test_a_log_folder_of_an_impossible_attempt_does_not_count(self, paths: RunPaths) -> None:
        (paths.root / "logs" / f"attempt-{2**53}").mkdir(parents=True)
        assert clear_for_next_attempt(paths) == 1

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
        with pretend_to_work_for(paths, seconds=0.5) as process:
            rank = described(process)
            write_state(paths, GONE, rank)
            assert clear_for_next_attempt(paths) == 2
            assert not is_alive(rank)
            assert process.wait() == 0

    def test_a_rank_that_does_not_leave_is_killed_after_its_grace(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, GONE, described(sleeper))
        assert clear_for_next_attempt(paths, grace_s=0.1) == 2
        assert sleeper.wait() == -9

    def test_a_rank_that_no_supervisor_recorded_is_waited_for_and_ended_as_well(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        write_state(paths, GONE)
        announce(paths, described(sleeper, "rank-1"))
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
