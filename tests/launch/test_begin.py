"""Beginning an attempt that lives on its own, and what is refused before one is begun."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec import structs
from support.waiting import PATIENCE_S, wait_for

from linftui.cores import usable_cores
from linftui.errors import CheckpointError, DeviceError, LinftuiError, RunStateError, UsageError, WorkerError
from linftui.launch.begin import begin_attempt, begin_run, plan_resume
from linftui.launch.lock import sole_supervisor
from linftui.launch.plan import LaunchPlan
from linftui.processes.signalling import end_members
from linftui.recipe.load import load_recipe
from linftui.rundir.liveness import is_alive
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_record
from linftui.rundir.records import ExitRecord, MetaRecord, ProcessRecord, StateRecord
from linftui.rundir.state import run_state
from linftui.rundir.store import RunStore
from linftui.rundir.tail import last_metrics
from linftui.rundir.writer import write_record

PLAN = LaunchPlan(devices=("cpu",), threads=1)

# An evaluation of half a second after each epoch, so that there is time to interfere.
SLOW = ["evaluation.batch_size=2", "log.every_steps=1"]
FINISHED = ("finished", 0, "")


def members(paths: RunPaths) -> dict[str, ProcessRecord]:
    state = read_record(paths.state, StateRecord)
    return {member.role: member for member in state.members} if state else {}


def step_of(paths: RunPaths) -> int:
    train, _ = last_metrics(paths.metrics)
    return train.step if train else 0


def end_of(paths: RunPaths) -> tuple[str, int, str]:
    """How the attempt ended, once its supervisor has said so and is gone."""
    wait_for(lambda: not any(map(is_alive, members(paths).values())))
    ended = read_record(paths.exit, ExitRecord)
    assert ended is not None
    return ended.outcome, ended.code, ended.message


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> RunPaths:
    """A copy of a finished run."""
    return RunPaths(Path(shutil.copytree(finished_run, tmp_path / "runs" / "copy")))


@pytest.fixture
def slow(tiny_recipe: Path, tmp_path: Path) -> Iterator[RunPaths]:
    """A run that lives on its own for some seconds, after its first epoch."""
    paths = begin_run(RunStore(tmp_path), load_recipe(tiny_recipe, SLOW), PLAN, "run")
    wait_for(lambda: step_of(paths) >= 12 and run_state(paths) == "running")
    yield paths
    end_members(paths, list(members(paths).values()))


@pytest.mark.slow
def test_a_supervisor_is_nobodys_child_and_has_a_session_of_its_own(slow: RunPaths) -> None:
    supervisor, rank = (members(slow)[role] for role in ("supervisor", "rank-0"))
    process = psutil.Process(supervisor.pid)
    assert process.ppid() != os.getpid() and supervisor.pid not in {
        p.pid for p in psutil.Process().children()
    }
    assert os.getsid(supervisor.pid) not in (os.getsid(0), os.getsid(rank.pid))
    assert process.terminal() is None
    assert os.readlink(f"/proc/{supervisor.pid}/fd/0") == "/dev/null"
    log = str(slow.supervisor_log(1))
    assert [os.readlink(f"/proc/{supervisor.pid}/fd/{n}") for n in (1, 2)] == [log, log]
    assert run_state(slow) == "running"


@pytest.mark.slow
def test_a_hang_up_does_not_end_a_supervisor(slow: RunPaths) -> None:
    os.kill(members(slow)["supervisor"].pid, signal.SIGHUP)
    assert end_of(slow) == FINISHED
    assert {record.attempt for record in RunReader(slow).devices()} == {1}
    assert "finished, exit code 0" in slow.supervisor_log(1).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_that_is_asked_to_end_passes_the_stop_on(slow: RunPaths, number: signal.Signals) -> None:
    os.kill(members(slow)["supervisor"].pid, number)
    assert end_of(slow) == ("stopped", 0, "")
    assert RunReader(slow).events()[-1].event == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("number", [pytest.param(signal.SIGHUP, marks=pytest.mark.thorough), signal.SIGKILL])
def test_whoever_started_and_follows_a_run_may_die(
    tiny_recipe: Path, tmp_path: Path, number: signal.Signals
) -> None:
    settings = [word for value in SLOW for word in ("--set", value)]
    follower = subprocess.Popen(
        [sys.executable, "-m", "linftui", "run", tiny_recipe, "--name", "run", "--devices", "cpu", *settings],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may run under nohup
    )  # fmt: skip
    paths = RunPaths(tmp_path / "runs" / "run")
    wait_for(lambda: step_of(paths) >= 12 and run_state(paths) == "running")
    os.killpg(follower.pid, number)
    output, _ = follower.communicate(timeout=PATIENCE_S)
    assert follower.returncode == -number
    assert output.splitlines()[0] == "run runs/run attempt 1" and "finished" not in output
    assert run_state(paths) == "running"
    assert end_of(paths) == FINISHED


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, "the supervisor cannot be started: No such file or directory"),
        ("echo no memory; exit 1", "the supervisor did not start: no memory"),
        ("exit 1", "the supervisor did not start: it printed nothing"),
    ],
)
def test_a_run_whose_supervisor_cannot_be_started_leaves_nothing_behind(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, said: str
) -> None:
    python = tmp_path / "python"
    if program is not None:
        python.write_text(f"#!/bin/sh\n{program}\n")
        python.chmod(0o755)
    store = RunStore(tmp_path / "runs")
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", str(python))
        with pytest.raises(LinftuiError, match=said):
            begin_run(store, load_recipe(tiny_recipe), PLAN, "mine")
    assert os.listdir(store.root) == []


def test_a_run_that_is_going_on_is_refused_with_the_supervisors_own_words(
    copy: RunPaths, sleeper: subprocess.Popen[bytes]
) -> None:
    before = copy.state.read_bytes()
    with sole_supervisor(copy), pytest.raises(LinftuiError) as refused:
        begin_attempt(copy, PLAN)
    assert str(refused.value) == "copy is still running, or just being started; stop it first"
    assert refused.value.exit_code == RunStateError.exit_code
    assert copy.state.read_bytes() == before and not copy.logs(2).exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0", "the supervisor did not start: it printed nothing"),
        ("echo one; echo two >&2; exit 3", "the supervisor did not start: two"),
        ("""echo '{"attempt": "x"}'""", """the supervisor did not start: {"attempt": "x"}"""),
        ("printf 'no\\377'", "the supervisor did not start: no�"),
    ],
)
def test_a_supervisor_that_does_not_answer_is_told_in_a_sentence(
    copy: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(LinftuiError) as failed:
        begin_attempt(copy, PLAN)
    assert (failed.value.message, failed.value.exit_code) == (message, 1)


def test_a_supervisor_that_warns_before_it_answers_is_understood(
    copy: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("""#!/bin/sh\necho 'a warning'\necho '{"v":1,"attempt":7}'\n""")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    assert begin_attempt(copy, PLAN) == 7


def test_a_supervisor_that_cannot_be_started_is_told_in_a_sentence(
    copy: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/absent")
    with pytest.raises(WorkerError, match="the supervisor cannot be started: No such file or directory"):
        begin_attempt(copy, PLAN)


def test_a_worker_that_cannot_be_started_leaves_a_crash_and_not_a_riddle(
    copy: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The supervisor starts, but the interpreter that it would start the worker with is gone.
    program = tmp_path / "python"
    started = "import sys; sys.executable = '/absent';"
    started += "from linftui.launch.supervisor import main; sys.exit(main(sys.argv[1:]))"
    program.write_text(f'#!/bin/sh\nshift 3\nexec "{sys.executable}" -c "{started}" "$@"\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(LinftuiError, match="a worker process cannot be started: No such file or directory"):
        begin_attempt(copy, PLAN)
    wait_for(lambda: run_state(copy) == "crashed")  # a moment later it is gone


@pytest.mark.slow
def test_meta_json_knows_what_the_last_attempt_computed_on(copy: RunPaths) -> None:
    copy.state.unlink()
    copy.exit.unlink()
    begin_attempt(copy, LaunchPlan(devices=("cpu",), threads=3), checkpoint=24)
    assert end_of(copy) == FINISHED
    copy.state.unlink()
    assert plan_resume(copy, checkpoint=24) == LaunchPlan(devices=("cpu",), threads=3)


class TestPlanResume:
    @pytest.fixture
    def stopped(self, copy: RunPaths) -> RunPaths:
        """A run that was stopped before its end."""
        write_record(copy.exit, ExitRecord(attempt=1, outcome="stopped", code=0, time=0.0))
        return copy

    def trained_on(self, paths: RunPaths, devices: list[str], threads: int) -> None:
        state = read_record(paths.state, StateRecord)
        assert state is not None
        write_record(paths.state, structs.replace(state, devices=devices, threads=threads))

    def test_it_goes_on_where_and_as_it_was(self, stopped: RunPaths) -> None:
        self.trained_on(stopped, ["cpu"], threads=17)
        assert plan_resume(stopped) == LaunchPlan(devices=("cpu",), threads=17)
        if psutil.cpu_count() >= 2 and usable_cores() >= 2:
            self.trained_on(stopped, ["cpu", "cpu"], threads=3)
            assert plan_resume(stopped) == LaunchPlan(devices=("cpu", "cpu"), threads=3)

    def test_it_goes_on_elsewhere_if_that_is_asked_for(self, stopped: RunPaths) -> None:
        self.trained_on(stopped, ["GPU-gone"], threads=17)
        cores = usable_cores()
        assert plan_resume(stopped, devices="cpu") == LaunchPlan(devices=("cpu",), threads=cores)

    def test_named_again_they_keep_their_threads_and_so_the_bits(self, stopped: RunPaths) -> None:
        self.trained_on(stopped, ["cpu"], threads=17)
        assert plan_resume(stopped, devices="cpu").threads == 17
        assert plan_resume(stopped, devices="cpu", threads=2).threads == 2

    def test_a_run_that_never_started_begins_anywhere(self, stopped: RunPaths) -> None:
        stopped.state.unlink()
        assert plan_resume(stopped).ranks == 1

    def test_without_state_json_it_goes_on_where_and_as_meta_json_says(self, stopped: RunPaths) -> None:
        meta = read_record(stopped.meta, MetaRecord)
        assert meta is not None and (meta.devices, meta.threads) == (["cpu"], usable_cores())
        stopped.state.unlink()
        write_record(stopped.meta, structs.replace(meta, threads=17))
        assert plan_resume(stopped) == LaunchPlan(devices=("cpu",), threads=17)
        if usable_cores() >= 2:
            write_record(stopped.meta, structs.replace(meta, devices=["cpu", "cpu"], threads=3))
            assert plan_resume(stopped) == LaunchPlan(devices=("cpu", "cpu"), threads=3)
        write_record(stopped.meta, structs.replace(meta, devices=["cpu"], threads=None))  # an older format
        assert plan_resume(stopped) == LaunchPlan(devices=("cpu",), threads=usable_cores())
        write_record(stopped.meta, structs.replace(meta, devices=["GPU-gone"]))
        with pytest.raises(DeviceError, match="there is no GPU GPU-gone here"):
            plan_resume(stopped)

    def test_a_checkpoint_that_a_killed_process_could_not_name_any_more_can_be_named(
        self, stopped: RunPaths
    ) -> None:
        stopped.checkpoint(24).root.rename(stopped.checkpoints / ".step-00000024.successor")
        assert plan_resume(stopped, checkpoint=24).ranks == 1

    def test_devices_that_are_gone_are_refused(self, stopped: RunPaths) -> None:
        self.trained_on(stopped, ["GPU-gone"], threads=1)
        with pytest.raises(DeviceError, match="there is no GPU GPU-gone here"):
            plan_resume(stopped)
        self.trained_on(stopped, ["cpu"] * 5000, threads=1)
        with pytest.raises(DeviceError, match="asks for 5000 ranks"):
            plan_resume(stopped)

    @pytest.mark.parametrize("device", ["--help", "cpu,cpu", "../x", "\x1b[2J", ""])
    def test_what_a_strangers_run_names_as_devices_is_refused(self, stopped: RunPaths, device: str) -> None:
        self.trained_on(stopped, [device], threads=1)
        with pytest.raises(DeviceError, match="is not understood"):
            plan_resume(stopped)

    def test_a_checkpoint_that_is_not_there_is_refused(self, stopped: RunPaths) -> None:
        with pytest.raises(UsageError, match="no complete checkpoint at step 7; it has: 24, 36"):
            plan_resume(stopped, checkpoint=7)
        stopped.checkpoint(24).complete.unlink()
        with pytest.raises(UsageError, match="no complete checkpoint at step 24; it has: 36"):
            plan_resume(stopped, checkpoint=24)

    def test_a_recipe_that_its_checkpoints_do_not_belong_to_is_refused(self, stopped: RunPaths) -> None:
        text = stopped.resolved.read_text()
        stopped.resolved.write_text(text.replace("width: 16", "width: 17"))
        with pytest.raises(CheckpointError, match="belongs to another recipe"):
            plan_resume(stopped)

    @pytest.mark.parametrize("file", ["metrics.jsonl", "events.jsonl", "devices.jsonl", "state.json"])
    def test_a_run_that_cannot_be_followed_is_not_begun(self, stopped: RunPaths, file: str) -> None:
        (stopped.root / file).unlink()
        os.mkfifo(stopped.root / file)
        with pytest.raises(LinftuiError, match=f"{file}: cannot be read: it is not a regular file"):
            plan_resume(stopped)
