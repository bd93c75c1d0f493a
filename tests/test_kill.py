"""Killed at random moments, twenty times over: no committed record is lost, and the end is the same."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from linftui.rundir.liveness import is_alive
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import latest_by_step, read_all, read_record
from linftui.rundir.records import Metric, ProcessRecord, StateRecord, TrainerRecord, TrainRecord
from linftui.rundir.state import run_state

RECIPE = """\
name: killed
epochs: 60
batch_size: 128
data: {dataset: digits, holdout: 100, augment: {crop_padding: 1}}
model: {width: 32, depth: 3}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 5, end_epoch: 55}
objective:
  lam: {start: 0.1, end: 0.001}
evaluation: {every_epochs: 2, reestimate_means: true}
log: {every_steps: 2}
"""
STEPS = 60 * 11  # 1,337 training images
KILLS = 20
PATIENCE_S = 200.0  # far beyond what anything here takes, even on a busy machine


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def command(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """A real `linftui` on one core, so that a busy machine does not slow it down out of all proportion."""
    core = min(os.sched_getaffinity(0))
    return subprocess.Popen(
        [sys.executable, "-m", "linftui", *arguments, "--devices", "cpu"],
        cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def committed(paths: RunPaths) -> list[bytes]:
    """The whole lines of both logs."""
    logs = [path.read_bytes() if path.exists() else b"" for path in (paths.metrics, paths.events)]
    return [log[: log.rfind(b"\n") + 1] for log in logs]


def rank_of(paths: RunPaths, supervisor: int) -> ProcessRecord | None:
    """The training process that this supervisor has recorded."""
    state = read_record(paths.state, StateRecord)
    members = {member.role: member for member in state.members} if state else {}
    return (
        members.get("rank-0") if "supervisor" in members and members["supervisor"].pid == supervisor else None
    )


def kill(process: subprocess.Popen[str], rank: ProcessRecord | None, *, both: bool) -> None:
    """Ends the training process, or it and the command; then nobody of the attempt is left."""
    if rank is None or both:
        process.kill()
    if rank is not None:
        os.kill(rank.pid, 9)
    _, errors = process.communicate(timeout=PATIENCE_S)
    if rank is not None and not both:
        assert process.returncode == 1 and "the training process was killed by signal 9" in errors
    wait_for(lambda: rank is None or not is_alive(rank))


def curve(paths: RunPaths) -> list[Metric]:
    """What a person sees of a run, without times, speeds, and who did it."""
    return [
        structs.replace(record, attempt=0, time=0.0, images_per_s=0.0)
        if isinstance(record, TrainRecord)
        else structs.replace(record, attempt=0, time=0.0, seconds=0.0)
        for record in latest_by_step(read_all(paths))
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_twenty_times_ends_as_if_nobody_had_touched_it(tmp_path: Path) -> None:
    (tmp_path / "killed.yaml").write_text(RECIPE)
    undisturbed, paths = (RunPaths(tmp_path / "runs" / name) for name in ("undisturbed", "killed"))

    started = time.monotonic()
    process = command("run", "killed.yaml", "--name", "undisturbed", cwd=tmp_path)
    wait_for(lambda: size(undisturbed.metrics))
    start_up_s = time.monotonic() - started
    assert process.communicate(timeout=PATIENCE_S)[1] == "" and process.returncode == 0

    chance, lines, while_training = random.Random(0), [b"", b""], 0
    process = command("run", "killed.yaml", "--name", "killed", cwd=tmp_path)
    for n in range(KILLS):
        before = size(paths.metrics)
        if n % 5 < 3:  # in training: some records after the start, and a little later
            enough = before + chance.randint(1, 2500)
            wait_for(lambda enough=enough: size(paths.metrics) >= enough)
            time.sleep(chance.uniform(0, 0.1))
        else:
            time.sleep(chance.uniform(0, start_up_s))
        assert process.poll() is None, f"the run ended before kill {n}"
        kill(process, rank_of(paths, process.pid), both=chance.random() < 0.4)

        while_training += size(paths.metrics) > before
        assert run_state(paths) == "crashed"
        lines, earlier = committed(paths), lines
        assert all(log.startswith(old) for log, old in zip(lines, earlier, strict=True))
        process = command("resume", "killed", cwd=tmp_path)

    assert process.communicate(timeout=PATIENCE_S)[1] == "" and process.returncode == 0
    assert KILLS // 2 <= while_training < KILLS
    assert run_state(paths) == "finished"
    assert all(log.startswith(old) for log, old in zip(committed(paths), lines, strict=True))

    first, second = undisturbed.checkpoint(STEPS), paths.checkpoint(STEPS)
    assert second.model.read_bytes() == first.model.read_bytes()
    assert second.optimizer.read_bytes() == first.optimizer.read_bytes()
    records = [read_record(checkpoint.trainer, TrainerRecord) for checkpoint in (first, second)]
    assert records[0] is not None and records[1] is not None
    assert structs.replace(records[1], attempt=1, time=records[0].time) == records[0]
    assert curve(paths) == curve(undisturbed)
