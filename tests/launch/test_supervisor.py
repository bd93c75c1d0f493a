"""An attempt from start to end with the real worker: how it ends, what it leaves, what comes after it."""

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest
import torch
from msgspec import structs
from support.attempts import PLAN, SLOW, finish, members, step_of, watch
from support.waiting import PATIENCE_S, wait_for

from linftui.checkpoint import load_latest
from linftui.errors import RunStateError
from linftui.launch.control import stop_run
from linftui.launch.prepare import create_run
from linftui.launch.supervisor import Supervisor
from linftui.recipe.load import dump_recipe, load_recipe
from linftui.rundir.checkpoints import complete_checkpoints
from linftui.rundir.liveness import is_alive
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, latest_by_step, read_all, read_record
from linftui.rundir.records import EvalRecord, ExitRecord, ProcessRecord, StateRecord, TrainerRecord
from linftui.rundir.state import run_state
from linftui.rundir.stopping import stop_stages
from linftui.rundir.store import RunStore
from linftui.rundir.writer import write_record

pytestmark = pytest.mark.slow

KILLED = "was killed by SIGKILL, perhaps because it used too much memory"


def tensors(paths: RunPaths, step: int = 36) -> tuple[bytes, bytes]:
    """The checkpoint's files of tensors, byte for byte."""
    checkpoint = paths.checkpoint(step)
    return checkpoint.model.read_bytes(), checkpoint.optimizer.read_bytes()


def figures(paths: RunPaths, means: str) -> list[tuple[int, float, float]]:
    """The evaluations that a person sees, without times."""
    return [
        (record.step, record.clean_accuracy, record.certified_accuracy)
        for record in latest_by_step(read_all(paths))
        if isinstance(record, EvalRecord) and record.means == means
    ]


def command(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """A real `linftui`, on one core as the runs here are."""
    core = min(os.sched_getaffinity(0))
    return subprocess.Popen(
        [sys.executable, "-m", "linftui", *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def reference(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A run that nobody disturbed. Do not write to it."""
    store = RunStore(tmp_path_factory.mktemp("reference"))
    paths = create_run(store, load_recipe(tiny_recipe), PLAN, "run")
    finish(Supervisor(paths, PLAN))
    return paths


@pytest.fixture
def copy(reference: RunPaths, tmp_path: Path) -> RunPaths:
    """A copy of the undisturbed run."""
    paths = RunPaths(tmp_path / "runs" / "run")
    shutil.copytree(reference.root, paths.root)
    return paths


def test_an_undisturbed_attempt_finishes(reference: RunPaths) -> None:
    ended = read_record(reference.exit, ExitRecord)
    assert ended is not None
    assert (ended.attempt, ended.outcome, ended.code, ended.message) == (1, "finished", 0, "")
    assert run_state(reference) == "finished"
    assert set(members(reference)) == {"supervisor", "rank-0"}
    assert not is_alive(members(reference)["rank-0"])
    assert "finished at step 36" in reference.rank_log(1, 0).read_text()
    assert {record.attempt for record in RunReader(reference).devices()} == {1}


def test_it_is_starting_until_the_first_step(tiny_recipe: Path, tmp_path: Path) -> None:
    paths = create_run(RunStore(tmp_path), load_recipe(tiny_recipe, SLOW), PLAN, "run")
    supervisor, seen = Supervisor(paths, PLAN), list[str]()

    def running() -> bool:
        seen.append(run_state(paths))
        return seen[-1] == "running"

    assert set(members(paths)) == {"supervisor", "rank-0"}
    watch(supervisor, running)
    assert len(seen) > 10 and set(seen[:-1]) == {"starting"}
    watch(supervisor, lambda: step_of(paths) > 0)
    before = paths.state.read_bytes()
    watch(supervisor, lambda: step_of(paths) >= 12)
    assert paths.state.read_bytes() == before  # said once
    stop_run(paths, "me")
    assert finish(supervisor).outcome == "stopped"


def test_a_stop_in_the_middle_of_an_evaluation_loses_nothing(
    tiny_recipe: Path, reference: RunPaths, tmp_path: Path
) -> None:
    paths = create_run(RunStore(tmp_path), load_recipe(tiny_recipe, SLOW), PLAN, "run")
    supervisor = Supervisor(paths, PLAN)
    wait_for(lambda: step_of(paths) >= 12)
    stop_run(paths, "me")
    assert run_state(paths) == "stopping"
    ended = finish(supervisor)
    assert (ended.outcome, ended.code, ended.message) == ("stopped", 0, "")
    assert read_record(paths.exit, ExitRecord) == ended and run_state(paths) == "stopped"
    stopped = read_record(paths.checkpoint(12).trainer, TrainerRecord)
    assert stopped is not None and not stopped.evaluated

    assert finish(Supervisor(paths, PLAN)).outcome == "finished"
    assert run_state(paths) == "finished"
    assert tensors(paths) == tensors(reference)
    assert figures(paths, "running") == figures(reference, "running")
    assert [step for step, _, _ in figures(paths, "re-estimated")] == [12, 24, 36]


def test_a_rank_that_is_killed_is_a_crash_with_a_message(slow: Supervisor) -> None:
    rank = members(slow.paths)["rank-0"]
    assert run_state(slow.paths) == "running"
    os.kill(rank.pid, signal.SIGKILL)
    ended = finish(slow)
    assert (ended.outcome, ended.code) == ("crashed", -signal.SIGKILL)
    assert ended.message == f"the training process {KILLED}"
    assert str(slow.paths.rank_log(1, 0)) in ended.hint
    assert read_record(slow.paths.exit, ExitRecord) == ended and run_state(slow.paths) == "crashed"


def test_a_second_stop_ends_the_run_at_once_and_it_goes_on_from_its_last_checkpoint(
    slow: Supervisor, reference: RunPaths
) -> None:
    paths = slow.paths
    os.kill(members(paths)["rank-0"].pid, signal.SIGSTOP)  # it will not save any more
    stop_run(paths, "me")
    watch(slow, lambda: run_state(paths) == "stopping")
    stop_run(paths, "me", at_once=True)
    ended = finish(slow)
    assert (ended.outcome, ended.code, ended.message) == ("stopped", -9, "ended without saving")
    assert finish(Supervisor(paths, PLAN)).outcome == "finished"
    assert tensors(paths) == tensors(reference)


def test_a_stop_that_is_not_heeded_ends_the_run_at_its_deadline(slow: Supervisor) -> None:
    paths = slow.paths
    os.kill(members(paths)["rank-0"].pid, signal.SIGSTOP)
    stop_run(paths, "me", deadline_s=0.5)
    ended = finish(slow)
    assert (ended.outcome, ended.code, ended.message) == ("stopped", -9, "ended without saving")
    stages = stop_stages(paths, RunReader(paths).events())
    assert stages is not None and stages.killed and stages.saved_step is None


def test_a_damaged_request_stops_nothing(slow: Supervisor, reference: RunPaths) -> None:
    slow.paths.stop_request(2).write_text("{}")  # nor does one for another attempt
    slow.paths.kill_request(1).write_text("{")
    assert finish(slow).outcome == "finished"
    assert tensors(slow.paths) == tensors(reference)


def fill_the_disk(paths: RunPaths, rank: ProcessRecord) -> bytes:
    """Lets a rank write no file that is larger than the metrics so far; returns those."""
    os.kill(rank.pid, signal.SIGSTOP)  # so that the size is right when the limit is set
    committed = paths.metrics.read_bytes()
    room = len(committed) + 50
    resource.prlimit(rank.pid, resource.RLIMIT_FSIZE, (room, room))
    os.kill(rank.pid, signal.SIGCONT)
    return committed


def check_full_disk(supervisor: Supervisor) -> None:
    paths = supervisor.paths
    committed = fill_the_disk(paths, members(paths)["rank-0"])
    ended = finish(supervisor)
    assert ended.outcome == "failed"
    assert ended.message.endswith(": cannot be written: File too large")
    assert paths.metrics.read_bytes().startswith(committed)
    loaded, skipped = load_latest(paths, torch.device("cpu"))
    assert loaded is not None and loaded.record.step >= 12 and skipped == []


def test_a_full_disk_ends_the_run_in_a_sentence_and_leaves_the_last_checkpoint(slow: Supervisor) -> None:
    check_full_disk(slow)


def test_what_a_killed_supervisor_left_is_removed_by_the_next(
    copy: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    copy.exit.unlink()
    [first, others] = [Supervisor(copy, PLAN), tmp_path / "linftui-of-another-run"]
    others.mkdir()
    [left] = [folder for folder in tmp_path.glob("linftui-*") if folder != others]
    shutil.copytree(left, kept := left.with_name(left.name + "x"))
    finish(first)
    assert not left.exists() and kept.exists()
    finish(Supervisor(copy, PLAN))
    assert not kept.exists() and others.exists()


def test_how_it_ended_is_told_though_somebody_has_damaged_the_state(slow: Supervisor) -> None:
    slow.paths.state.write_text('{"attempt')
    ended = finish(slow)
    assert read_record(slow.paths.exit, ExitRecord) == ended
    assert ended.outcome == "failed" and ended.message.startswith("state.json of the run cannot be read")
    slow.paths.state.unlink()  # as the hint says
    assert run_state(slow.paths) == "failed"


def test_how_it_ended_is_told_once_there_is_room(slow: Supervisor) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    os.kill(members(slow.paths)["rank-0"].pid, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    room = threading.Timer(1.5, resource.setrlimit, (resource.RLIMIT_FSIZE, (soft, hard)))
    room.start()
    try:
        ended = finish(slow)
    finally:
        room.join()
    assert ended.outcome == "crashed" and read_record(slow.paths.exit, ExitRecord) == ended


class TestTwoRanks:
    @pytest.mark.thorough
    def test_the_one_that_writes_tells_why_it_failed_though_the_other_only_lost_it(
        self, slow_two: Supervisor
    ) -> None:
        check_full_disk(slow_two)
        assert "RankLostError" in slow_two.paths.error(1, 1).read_text()

    def test_all_its_processes_are_known_and_each_rank_has_a_log(self, slow_two: Supervisor) -> None:
        paths, known = slow_two.paths, members(slow_two.paths)
        assert set(known) == {"supervisor", "torchrun", "rank-0", "rank-1"}
        own = [
            p.pid for p in psutil.process_iter(["cmdline"]) if str(paths.root) in (p.info["cmdline"] or [])
        ]
        assert set(own) == {known[role].pid for role in ("torchrun", "rank-0", "rank-1")}
        for member in known.values():
            assert is_alive(member)
        for rank in range(2):
            log = os.readlink(f"/proc/{known[f'rank-{rank}'].pid}/fd/1")
            assert log == str(paths.rank_log(1, rank))
        assert len({os.getsid(known[f"rank-{rank}"].pid) for rank in range(2)}) == 2

    @pytest.mark.thorough
    def test_a_rank_that_is_killed_is_named_and_nobody_is_left(self, slow_two: Supervisor) -> None:
        paths, known = slow_two.paths, members(slow_two.paths)
        os.kill(known["rank-0"].pid, signal.SIGSTOP)  # as if it waited for the other in a kernel of a GPU
        os.kill(known["rank-1"].pid, signal.SIGKILL)
        ended = finish(slow_two)
        assert ended.outcome == "crashed"
        assert ended.message == f"rank 1 {KILLED}"
        assert str(paths.rank_log(1, 1)) in ended.hint
        assert "Unable to shutdown" not in paths.torchrun_log(1).read_text()  # which takes torchrun 30 s
        wait_for(lambda: not any(is_alive(known[role]) for role in ("torchrun", "rank-0", "rank-1")))

    @pytest.mark.thorough
    def test_torchrun_that_is_killed_leaves_nothing_behind(
        self, slow_two: Supervisor, tmp_path: Path
    ) -> None:
        paths, known = slow_two.paths, members(slow_two.paths)
        [rendezvous] = (tmp_path / "temporary").glob("linftui-*")
        assert rendezvous.stat().st_mode & 0o777 == 0o700
        for role in ("rank-0", "rank-1"):
            os.kill(known[role].pid, signal.SIGSTOP)  # they will not leave by themselves
        os.kill(known["torchrun"].pid, signal.SIGKILL)
        ended = finish(slow_two)
        assert (ended.outcome, ended.code) == ("crashed", -9)
        assert ended.message == f"torchrun {KILLED}"
        assert run_state(paths) == "crashed"
        wait_for(lambda: not any(is_alive(known[f"rank-{rank}"]) for rank in range(2)))
        left = [path.name for path in (tmp_path / "temporary").iterdir()]
        assert not [name for name in left if name.startswith(("linftui", "torchelastic"))]

    @pytest.mark.thorough
    def test_a_rank_that_hangs_is_ended_at_the_deadline_of_a_stop(self, slow_two: Supervisor) -> None:
        paths, known = slow_two.paths, members(slow_two.paths)
        os.kill(known["rank-1"].pid, signal.SIGSTOP)
        stop_run(paths, "me", deadline_s=0.5)
        ended = finish(slow_two)
        assert (ended.outcome, ended.message) == ("stopped", "ended without saving")
        wait_for(lambda: not any(is_alive(known[role]) for role in ("torchrun", "rank-0", "rank-1")))


@pytest.mark.thorough
def test_a_killed_supervisor_leaves_no_orphan_and_the_run_goes_on_later(
    tiny_recipe: Path, reference: RunPaths, tmp_path: Path
) -> None:
    settings = [word for value in SLOW for word in ("--set", value)]
    run = command(
        "run", tiny_recipe, "--name", "run", "--devices", "cpu", "--detach", *settings, cwd=tmp_path
    )
    assert run.communicate(timeout=PATIENCE_S) == ("run\n", "")
    paths = RunPaths(tmp_path / "runs" / "run")
    wait_for(lambda: step_of(paths) >= 13)
    rank, supervisor = (members(paths)[role] for role in ("rank-0", "supervisor"))
    os.kill(rank.pid, signal.SIGSTOP)  # it stays where it is while we try to resume a running run

    refused = command("resume", "run", cwd=tmp_path)
    output, errors = refused.communicate(timeout=PATIENCE_S)
    assert (refused.returncode, output) == (2, "")
    assert errors == "linftui: run is still running, or just being started; stop it first\n"

    os.kill(supervisor.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(supervisor))
    assert run_state(paths) == "running"  # the rank is alive, and about to notice
    os.kill(rank.pid, signal.SIGCONT)
    wait_for(lambda: not is_alive(rank))
    assert run_state(paths) == "crashed"
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(paths.root) in (p.info["cmdline"] or [])]
    saved = complete_checkpoints(paths)[-1]
    assert RunReader(paths).events()[-1].message == f"saved at step {saved.step:,}"

    resumed = command("resume", "run", cwd=tmp_path)
    output, errors = resumed.communicate(timeout=PATIENCE_S)
    assert (resumed.returncode, errors) == (0, "")
    assert output.splitlines()[-1].startswith("finished: ")
    assert run_state(paths) == "finished"
    assert tensors(paths) == tensors(reference)
    assert figures(paths, "running") == figures(reference, "running")


def test_a_loss_that_is_no_longer_finite_ends_the_run_with_a_sound_checkpoint(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    # One step an epoch, each a checkpoint: the first leaves huge weights, the second overflows.
    run = command(
        "run", tiny_recipe, "--name", "run", "--devices", "cpu",
        "--set", "batch_size=1437", "--set", "optimizer.lr=1e36", cwd=tmp_path,
    )  # fmt: skip
    _, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    (sentence,) = errors.splitlines()
    assert re.match(
        r"linftui: the loss is no longer finite, noticed at step 2 \(epoch 2.00, p 299.1\): "
        r"(hidden|last)\.\S+ holds a NaN or an infinity; try a smaller optimizer.lr",
        sentence,
    )
    paths = RunPaths(tmp_path / "runs" / "run")
    assert run_state(paths) == "failed"
    assert "Traceback" in paths.rank_log(1, 0).read_text()
    loaded, skipped = load_latest(paths, torch.device("cpu"))
    assert loaded is not None and loaded.record.step == 1 and skipped == []
    assert all(tensor.isfinite().all() for tensor in (*loaded.model.values(), *loaded.optimizer.values()))


def test_of_two_resumes_at_once_one_wins(copy: RunPaths, reference: RunPaths) -> None:
    state = read_record(copy.state, StateRecord)
    assert state is not None
    write_record(copy.state, structs.replace(state, members=[]))  # the supervisor was this very process
    copy.exit.unlink()
    shutil.rmtree(copy.checkpoint(36).root)
    assert run_state(copy) == "crashed"

    both = [command("resume", "run", cwd=copy.root.parents[1]) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE_S) for process in both]
    won, lost = sorted(range(2), key=lambda i: both[i].returncode)
    assert both[won].returncode == 0 and outputs[won][1] == ""
    assert both[lost].returncode in (1, 2)
    assert len(outputs[lost][1].splitlines()) == 1 and outputs[lost][1].startswith("linftui: ")

    assert run_state(copy) == "finished"
    assert tensors(copy) == tensors(reference)
    assert len({record.attempt for record in read_all(copy)}) == 2  # the first attempt and the winner


def test_a_run_that_somebody_else_is_just_starting_is_refused(copy: RunPaths) -> None:
    state = copy.state.read_bytes()
    with (copy.control / "supervisor.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunStateError, match="is still running, or just being started; stop it first"):
            Supervisor(copy, PLAN)
    assert copy.state.read_bytes() == state and not copy.logs(2).exists()


def test_a_checkpoint_of_another_recipe_is_refused(
    copy: RunPaths, tiny_recipe: Path, reference: RunPaths
) -> None:
    copy.resolved.write_text(dump_recipe(load_recipe(tiny_recipe, ["seed=1"]).recipe))
    ended = finish(Supervisor(copy, PLAN))
    assert (ended.outcome, ended.code) == ("failed", 1)
    assert ended.message == "checkpoint step-00000036 belongs to another recipe"
    assert tensors(copy) == tensors(reference)


def test_a_run_taken_up_again_from_an_earlier_checkpoint_ends_the_same(
    copy: RunPaths, reference: RunPaths
) -> None:
    assert finish(Supervisor(copy, PLAN, checkpoint=24)).outcome == "finished"
    assert tensors(copy) == tensors(reference)
    done = [(record.step, record.attempt) for record in latest_by_step(read_all(copy))]
    assert {step for step, attempt in done if attempt == 2} == {25, 30, 35, 36}
    assert figures(copy, "running") == figures(reference, "running")
