"""What happens around a run that trains: its folder moves or is replaced, its disk fills, ranks freeze."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.attempts import PLAN, SLOW, finish, members, slowly, step_of
from support.poor_file_systems import mounted
from support.waiting import wait_for

from linftui.actions.remove import remove
from linftui.errors import RunStateError
from linftui.launch.control import stop_run
from linftui.launch.prepare import create_run
from linftui.launch.supervisor import Supervisor
from linftui.processes import reports
from linftui.recipe.load import load_recipe
from linftui.rundir.checkpoints import complete_checkpoints
from linftui.rundir.liveness import is_alive
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ExitRecord
from linftui.rundir.state import run_state
from linftui.rundir.store import RunStore

pytestmark = pytest.mark.slow


class TestFolder:
    def test_a_run_that_is_moved_stops_and_says_so_where_it_is_now(
        self, slow: Supervisor, tmp_path: Path
    ) -> None:
        rank, step = members(slow.paths)["rank-0"], step_of(slow.paths)
        moved = RunPaths(slow.paths.root.rename(tmp_path / "moved"))
        assert run_state(moved) == "running"
        ended = finish(slow)
        assert (ended.outcome, ended.code) == ("failed", 1)
        assert ended.message == f"{slow.paths.root} is gone: it was moved or removed meanwhile"
        assert not slow.paths.root.exists() and not is_alive(rank)
        assert read_record(moved.exit, ExitRecord) == ended and run_state(moved) == "failed"
        assert complete_checkpoints(moved) and step_of(moved) >= step
        assert finish(Supervisor(moved, PLAN)).outcome == "finished"

    def test_a_run_that_is_removed_ends_and_leaves_nothing(self, slow: Supervisor) -> None:
        rank = members(slow.paths)["rank-0"]
        os.kill(rank.pid, signal.SIGSTOP)  # else it may look while half of it is gone
        shutil.rmtree(slow.paths.root)
        os.kill(rank.pid, signal.SIGCONT)
        ended = finish(slow)
        assert ended.message == f"{slow.paths.root} is gone: it was moved or removed meanwhile"
        assert not slow.paths.root.exists() and not is_alive(rank)

    @pytest.mark.parametrize("removal", ["removed", pytest.param("moved", marks=pytest.mark.thorough)])
    def test_a_new_run_of_the_same_name_is_not_written_to_by_the_old_one(
        self, slow: Supervisor, tiny_recipe: Path, tmp_path: Path, removal: str
    ) -> None:
        os.kill(members(slow.paths)["rank-0"].pid, signal.SIGSTOP)  # it writes on once the new run is there
        if removal == "moved":
            slow.paths.root.rename(tmp_path / "moved")
        else:
            shutil.rmtree(slow.paths.root)
        paths = create_run(RunStore(tmp_path), load_recipe(tiny_recipe, ["seed=2"]), PLAN, "run")
        assert paths.root == slow.paths.root
        new = Supervisor(paths, PLAN)
        assert new.attempt == slow.attempt == 1
        before = {path: path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}
        os.kill(new._members[0].pid, signal.SIGSTOP)
        os.kill(slow._members[0].pid, signal.SIGCONT)
        ended = finish(slow)
        slow.handle_signal(signal.SIGTERM)  # too late, and meant for another run
        own = {paths.metrics, paths.events, paths.devices, paths.state, paths.meta}
        assert own >= {
            path for path in paths.root.rglob("*") if path.is_file() and before.get(path) != path.read_bytes()
        }
        os.kill(new._members[0].pid, signal.SIGCONT)
        assert ended.outcome == "failed"
        assert ended.message == f"{paths.root} is now another folder: the original was moved or removed"
        assert run_state(paths) in ("starting", "running")
        assert finish(new).outcome == "finished"
        seeds = {read_record(c.trainer, dict)["seed"] for c in complete_checkpoints(paths)}  # type: ignore[index]
        assert seeds == {2} and run_state(paths) == "finished"

    @pytest.mark.thorough
    def test_a_last_word_that_has_to_wait_does_not_go_into_a_new_run(
        self, slow: Supervisor, tiny_recipe: Path, tmp_path: Path
    ) -> None:
        os.kill(members(slow.paths)["rank-0"].pid, signal.SIGKILL)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # nothing can be written

        def replace_run() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            slow.paths.root.rename(tmp_path / "moved")
            create_run(RunStore(tmp_path), load_recipe(tiny_recipe), PLAN, "run")

        meanwhile = threading.Timer(1.5, replace_run)
        meanwhile.start()
        try:
            ended = finish(slow)
        finally:
            meanwhile.join()
        assert ended.outcome == "crashed" and run_state(slow.paths) == "pending"
        assert read_record(RunPaths(tmp_path / "moved").exit, ExitRecord) == ended

    def test_a_copy_is_stopped_and_stopping_it_leaves_the_original_alone(
        self, slow: Supervisor, tmp_path: Path
    ) -> None:
        rank = members(slow.paths)["rank-0"]
        os.kill(rank.pid, signal.SIGSTOP)  # so that it still trains when the copy is through
        copy = RunPaths(shutil.copytree(slow.paths.root, tmp_path / "copy"))
        assert (run_state(slow.paths), run_state(copy)) == ("running", "stopped")
        for _ in range(2):
            with pytest.raises(RunStateError, match="copy is stopped: there is nothing to stop"):
                stop_run(copy, "me")
        assert finish(Supervisor(copy, PLAN)).outcome == "finished"  # while the original trains
        os.kill(rank.pid, signal.SIGCONT)
        assert finish(slow).outcome == "finished"


class TestDisk:
    @pytest.fixture
    def full(self, small_disk: Path, tiny_recipe: Path) -> Supervisor:
        """A run that trains on a disk that is full all of a sudden."""
        [supervisor] = [next(attempt := slowly(tiny_recipe, small_disk, PLAN, SLOW))]
        self.attempt = attempt  # a generator that is let go of ends the attempt
        with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)) == 4096:
                pass
        assert shutil.disk_usage(small_disk).free == 0
        return supervisor

    def test_a_disk_that_fills_is_named_at_once(self, full: Supervisor) -> None:
        ended = finish(full)
        assert ended.outcome == "failed", full.paths.rank_log(1, 0).read_text()
        assert ended.message.endswith("cannot be written: No space left on device")
        assert ended.hint == "free some space"
        assert read_record(full.paths.exit, ExitRecord) == ended and run_state(full.paths) == "failed"
        (full.paths.root.parent / "filler").unlink()
        assert finish(Supervisor(full.paths, PLAN)).outcome == "finished"

    @pytest.mark.thorough
    def test_a_disk_without_inodes_is_named_too(self, tmp_path: Path, tiny_recipe: Path) -> None:
        with mounted("tmpfs", tmp_path / "disk", "size=8M,nr_inodes=60") as disk:
            attempt = slowly(tiny_recipe, disk, PLAN, SLOW)
            supervisor = next(attempt)
            with contextlib.suppress(OSError):
                for number in range(60):
                    (disk / f"filler-{number}").touch()
            ended = finish(supervisor)
            assert (ended.outcome, run_state(supervisor.paths)) == ("failed", "failed")
            assert ended.message.endswith("cannot be written: No space left on device")
            remove(supervisor.paths)
            assert not supervisor.paths.root.exists()
            attempt.close()

    @pytest.mark.thorough
    def test_a_disk_that_can_only_be_read_by_now_is_named(self, small_disk: Path, tiny_recipe: Path) -> None:
        """Told by the supervisor once it can write again: nothing can be kept before."""
        attempt = slowly(tiny_recipe, small_disk, PLAN, SLOW)
        supervisor = next(attempt)
        os.kill(members(supervisor.paths)["rank-0"].pid, signal.SIGSTOP)
        bind = ["mount", "--bind", str(small_disk), str(small_disk)]
        subprocess.run(bind, check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(small_disk)], check=True)
        writable = threading.Timer(3.0, subprocess.run, [["umount", str(small_disk)]])
        try:
            os.kill(members(supervisor.paths)["rank-0"].pid, signal.SIGCONT)
            writable.start()
            ended = finish(supervisor)
        finally:
            writable.join()
        assert ended.outcome == "failed" and "Read-only file system" in ended.message
        assert read_record(supervisor.paths.exit, ExitRecord) == ended
        attempt.close()


class TestFrozen:
    def test_a_rank_that_hangs_is_ended_once_its_stack_is_in_its_log(
        self, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reports, "SILENT_S", 7.0)
        attempt = slowly(tiny_recipe, tmp_path, PLAN, [*SLOW, "epochs=100", "p.end_epoch=99"])
        slow = next(attempt)
        os.kill(members(slow.paths)["rank-0"].pid, signal.SIGSTOP)
        ended = finish(slow)
        assert (ended.outcome, ended.code) == ("crashed", -signal.SIGKILL)
        assert ended.message == "rank 0 hung: it gave no sign of life for 30 s"
        log = slow.paths.rank_log(1, 0)
        assert str(log) in ended.hint and "most recent call first" in log.read_text()


def command(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "linftui", *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def detached(tiny_recipe: Path, tmp_path: Path) -> RunPaths:
    """A run that was begun by a command and goes on by itself for some seconds."""
    settings = [word for override in SLOW for word in ("--set", override)]
    begun = command("run", tiny_recipe, "--name", "run", "--detach", *settings, cwd=tmp_path)
    assert begun.communicate() == ("run\n", "")
    paths = RunPaths(tmp_path / "runs" / "run")
    wait_for(lambda: step_of(paths) >= 13 and run_state(paths) == "running")
    return paths


@pytest.mark.parametrize(
    ("role", "number"),
    [("supervisor", signal.SIGUSR1), pytest.param("rank-0", signal.SIGUSR2, marks=pytest.mark.thorough)],
)
def test_a_schedulers_warning_saves_and_stops(detached: RunPaths, role: str, number: int) -> None:
    os.kill(members(detached)[role].pid, number)
    wait_for(lambda: run_state(detached) not in ("running", "stopping"))
    ended = read_record(detached.exit, ExitRecord)
    assert ended is not None and (ended.outcome, ended.message) == ("stopped", "")
    [*_, newest] = complete_checkpoints(detached)
    assert newest.step >= step_of(detached) >= 13


def test_a_frozen_supervisor_is_ended_by_who_stops_the_run(detached: RunPaths) -> None:
    known = members(detached)
    os.kill(known["supervisor"].pid, signal.SIGSTOP)
    os.kill(known["rank-0"].pid, signal.SIGSTOP)
    stopped = command("stop", "run", "--deadline", "0", cwd=detached.root.parents[1])
    output, errors = stopped.communicate(timeout=60)
    assert (stopped.returncode, errors) == (0, "")
    assert output.splitlines() == [
        "run: stop requested",
        "run: its supervisor does not answer, asked to end at once",
        "run: stopped, ended without saving; its supervisor did not answer",
    ]
    assert not any(map(is_alive, known.values()))


def test_what_a_rank_saved_is_told_though_its_supervisor_is_frozen(detached: RunPaths) -> None:
    known = members(detached)
    os.kill(known["supervisor"].pid, signal.SIGSTOP)
    first = command("stop", "run", "--no-wait", cwd=detached.root.parents[1])
    assert first.communicate(timeout=60) == ("run: stop requested\n", "")
    wait_for(lambda: not is_alive(known["rank-0"]))
    again = command("stop", "run", cwd=detached.root.parents[1])
    output, errors = again.communicate(timeout=60)
    assert (again.returncode, errors) == (0, "")
    assert output.splitlines()[-1] == "run: stopped, its supervisor did not answer"
    step = int(complete_checkpoints(detached)[-1].root.name.removeprefix("step-"))
    assert f"run: saved step {step:,}" in output.splitlines()


def test_a_warning_to_everybody_at_once_saves_and_stops(tiny_recipe: Path, tmp_path: Path) -> None:
    """A scheduler signals all processes of a job: the command that waits, its supervisor and its ranks."""
    settings = [word for override in SLOW for word in ("--set", override)]
    begun = command("run", tiny_recipe, "--name", "run", "--no-tui", *settings, cwd=tmp_path)
    paths = RunPaths(tmp_path / "runs" / "run")
    wait_for(lambda: step_of(paths) >= 13)
    for _ in range(3):
        for pid in (begun.pid, *(member.pid for member in members(paths).values())):
            os.kill(pid, signal.SIGUSR1)
    output, errors = begun.communicate(timeout=60)
    assert (begun.returncode, errors) == (143, "")
    assert output.splitlines()[-1].startswith("stopped: runs/run  resume it with: linftui resume")
    ended = read_record(paths.exit, ExitRecord)
    assert ended is not None and (ended.outcome, ended.message) == ("stopped", "")
    assert not paths.kill_request(1).exists()
