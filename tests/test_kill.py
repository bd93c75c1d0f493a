"""Killed at random moments: what is shown is soon right, nobody is left behind, and the end is the same.

Each case kills one kind of process of a run, again and again, and resumes the run each time. The few kills of
the test suite take a minute or two; the twenty a case that the design asks for, a quarter of an hour:

    LINFTUI_KILLS=20 pytest -s tests/test_kill.py

Moments are spread over the whole life of an attempt: while it starts, before its ranks have said who they
are; while it trains; and at the end of an epoch, when it evaluates and saves.
"""

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from msgspec import structs

from linftui.devices import usable_cores
from linftui.launch.begin import begin_run
from linftui.launch.plan import LaunchPlan
from linftui.recipe.load import load_recipe
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, latest_by_step, read_all, read_record
from linftui.rundir.records import ExitRecord, Metric, StateRecord, TrainerRecord, TrainRecord
from linftui.rundir.state import run_state
from linftui.rundir.store import RunStore

KILLS = int(os.environ.get("LINFTUI_KILLS", "2"))
CASES = [("rank", 1), ("supervisor", 1), ("rank", 2), ("torchrun", 2), ("supervisor", 2)]

EPOCH = 11  # steps, of 1,337 training images
EPOCHS = 4 + 2 * KILLS  # an attempt is killed before it has come so far that the run could end
RECIPE = f"""\
name: killed
epochs: {EPOCHS}
batch_size: 128
data: {{dataset: digits, holdout: 100, augment: {{crop_padding: 1}}}}
model: {{width: 32, depth: 3}}
eps: {{train: 0.3, test: 0.1}}
p: {{begin_epoch: 2, end_epoch: {EPOCHS - 2}}}
objective:
  lam: {{start: 0.1, end: 0.001}}
evaluation: {{reestimate_means: true, batch_size: 40}}
log: {{every_steps: 1}}
"""

# What the design promises, in seconds after a kill.
STATE_RIGHT_S, NOBODY_LEFT_S = 5.0, 30.0
PATIENCE_S = 200.0  # far beyond what anything here takes, even on a busy machine


@dataclass(frozen=True)
class Process:
    """A process that works on a run; `attempt` is unknown for a supervisor."""

    pid: int
    role: str
    attempt: int | None


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody killed, and how long it took until its first step."""

    paths: RunPaths
    start_up_s: float


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def processes(paths: RunPaths) -> list[Process]:
    """Who works on a run, whether or not anybody has recorded it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has just ended
        if str(paths.root) in words:
            roles = {"linftui.launch.supervisor": "supervisor", "torch.distributed.run": "torchrun"}
            role = next((roles[word] for word in words if word in roles), "rank")
            attempt = int(words[words.index("--attempt") + 1]) if "--attempt" in words else None
            found.append(Process(int(entry.name), role, attempt))
    return found


def current_attempt(paths: RunPaths) -> int:
    state = read_record(paths.state, StateRecord)
    return 0 if state is None else state.attempt


def launch(*arguments: str, ranks: int, cwd: Path) -> subprocess.Popen[str]:
    """A real `linftui`, which leaves when the run's supervisor has started; one rank has one core."""
    cores = sorted(os.sched_getaffinity(0))[:ranks]
    return subprocess.Popen(
        [sys.executable, "-m", "linftui", *arguments, "--detach"],
        cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip


def wait_for_moment(n: int, paths: RunPaths, since: int, start_up_s: float, chance: random.Random) -> None:
    """Waits for a random moment in the life of the attempt after `since`, each kind in its turn."""
    reader, steps = RunReader(paths), list[int]()

    def done() -> list[int]:
        new = reader.metrics()
        steps.extend(r.step for r in new if isinstance(r, TrainRecord) and r.attempt > since)
        return steps

    if n % 3 == 0:  # in training
        enough = chance.randint(1, 2 * EPOCH)
        wait_for(lambda: len(done()) >= enough)
    elif n % 3 == 1:  # while it starts
        moment = time.monotonic() + chance.uniform(0, start_up_s)
        wait_for(lambda: time.monotonic() > moment or done())
    else:  # at the end of an epoch, when it evaluates and saves
        wait_for(lambda: any(step % EPOCH == 0 for step in done()))
        time.sleep(chance.uniform(0, 0.3))


def kill_one(paths: RunPaths, target: str, chance: random.Random) -> float:
    """Kills a process of that kind, and returns when."""
    wait_for(lambda: any(process.role == target for process in processes(paths)))
    pids = [process.pid for process in processes(paths) if process.role == target]
    for pid in [chance.choice(pids)] if target == "rank" else pids:  # a supervisor begins as two
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    return time.monotonic()


def is_right(paths: RunPaths, target: str, before: list[Process]) -> bool:
    """Whether what a person is told is what is; `before` are the processes just before the question."""
    state = run_state(paths)
    if target != "supervisor":  # there is one who has to say how it ended
        ended = read_record(paths.exit, ExitRecord)
        return state == "crashed" and ended is not None and ended.attempt == current_attempt(paths)
    # Ranks that save without their supervisor are still running.
    return bool(before) if state in ("starting", "running") else state == "crashed" and not processes(paths)


def follow_the_end(paths: RunPaths, target: str, killed: float) -> tuple[float, float]:
    """The longest that something wrong was told at a stretch; seconds from the kill until nobody was left.

    A rank that saves without its supervisor changes what is right once more when it leaves.
    """
    longest, right_at = 0.0, killed
    while True:
        left = processes(paths)
        right, now = is_right(paths, target, left), time.monotonic()
        longest = max(longest, now - right_at)
        if right:
            right_at = now
        if right and not left:
            return longest, now - killed
        assert now - right_at <= STATE_RIGHT_S, f"{run_state(paths)} after {target} was killed, {left}"
        assert now - killed <= NOBODY_LEFT_S, left
        time.sleep(0.02)


def wait_for_orphans(paths: RunPaths, attempt: int, killed: float) -> float:
    """Seconds from the kill until nobody was left of this attempt and those before."""
    while left := [p for p in processes(paths) if p.attempt is not None and p.attempt <= attempt]:
        assert time.monotonic() - killed <= NOBODY_LEFT_S, left
        time.sleep(0.02)
    return time.monotonic() - killed


def committed(paths: RunPaths) -> list[bytes]:
    """The whole lines of both logs."""
    logs = [path.read_bytes() for path in (paths.metrics, paths.events)]
    return [log[: log.rfind(b"\n") + 1] for log in logs]


def curve(paths: RunPaths) -> list[Metric]:
    """What a person sees of a run, without times, speeds, and who did it."""
    return [
        structs.replace(record, attempt=0, time=0.0, images_per_s=0.0)
        if isinstance(record, TrainRecord)
        else structs.replace(record, attempt=0, time=0.0, seconds=0.0)
        for record in latest_by_step(read_all(paths))
    ]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("undisturbed") / "killed.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def undisturbed(recipe: Path) -> Callable[[int], Undisturbed]:
    """A run that nobody killed, of so many ranks."""

    @cache
    def train(ranks: int) -> Undisturbed:
        started = time.monotonic()
        plan = LaunchPlan(devices=("cpu",) * ranks, threads=1)
        paths = begin_run(RunStore(recipe.parent), load_recipe(recipe), plan, f"with-{ranks}")
        wait_for(lambda: read_all(paths))
        start_up_s = time.monotonic() - started
        wait_for(lambda: run_state(paths) not in ("starting", "running"))
        assert run_state(paths) == "finished"
        return Undisturbed(paths, start_up_s)

    return train


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[RunPaths]:
    """Where the run will be; nobody works on it any more once the test is over."""
    paths = RunPaths(tmp_path / "runs" / "killed")
    yield paths
    for process in processes(paths):
        os.kill(process.pid, 9)


@pytest.mark.slow
@pytest.mark.timeout(300 + 120 * KILLS)
@pytest.mark.parametrize(("target", "ranks"), CASES, ids=[f"{target} of {ranks}" for target, ranks in CASES])
def test_a_run_that_is_killed_again_and_again_ends_as_if_nobody_had_touched_it(
    target: str, ranks: int, undisturbed: Callable[[int], Undisturbed], recipe: Path, paths: RunPaths
) -> None:
    if usable_cores() < ranks:
        pytest.skip("two ranks need two cores")
    expected = undisturbed(ranks)
    chance, folder = random.Random(f"{target} of {ranks}"), paths.root.parents[1]
    lines, right_s, left_s = [b"", b""], list[float](), list[float]()
    spec = f"cpu:{ranks}"
    begun = launch("run", str(recipe), "--name", "killed", "--devices", spec, ranks=ranks, cwd=folder)
    since = 0
    for n in range(KILLS):
        wait_for_moment(n, paths, since, expected.start_up_s, chance)
        killed = kill_one(paths, target, chance)
        _, errors = begun.communicate(timeout=PATIENCE_S)
        assert begun.returncode == 0 or (target == "supervisor" and "the supervisor did not start" in errors)

        since = current_attempt(paths)
        if target == "supervisor" and n % 2:  # the next attempt begins while orphans may still be saving
            begun = launch("resume", "killed", ranks=ranks, cwd=folder)
            left_s.append(wait_for_orphans(paths, since, killed))
        else:
            right, left = follow_the_end(paths, target, killed)
            right_s.append(right)
            left_s.append(left)
            begun = launch("resume", "killed", ranks=ranks, cwd=folder)
        lines, earlier = committed(paths), lines
        assert all(log.startswith(old) for log, old in zip(lines, earlier, strict=True))

    assert begun.communicate(timeout=PATIENCE_S)[1] == "" and begun.returncode == 0
    wait_for(lambda: run_state(paths) not in ("starting", "running"))
    assert run_state(paths) == "finished"
    assert all(log.startswith(old) for log, old in zip(committed(paths), lines, strict=True))
    check_writers(paths)
    check_end(paths, expected.paths)
    print(
        f"\n{target} of {ranks}, {KILLS} kills: told right after at most {max(right_s):.2f} s,"
        f" nobody left after at most {max(left_s):.2f} s, {since + 1} attempts"
    )


def check_writers(paths: RunPaths) -> None:
    """Never two at once: each attempt's records are one block, and no attempt does a step twice."""
    metrics, events = read_all(paths), RunReader(paths).events()
    for attempts in ([record.attempt for record in metrics], [event.attempt for event in events]):
        assert attempts == sorted(attempts)
    trained = [(record.attempt, record.step) for record in metrics if isinstance(record, TrainRecord)]
    assert len(set(trained)) == len(trained)
    assert len({attempt for attempt, _ in trained}) > KILLS // 2  # many were killed in training


def check_end(paths: RunPaths, undisturbed: RunPaths) -> None:
    """Bit-identical: model, optimizer, position, and the curve that a person sees."""
    first, second = (run.checkpoint(EPOCHS * EPOCH) for run in (undisturbed, paths))
    assert second.model.read_bytes() == first.model.read_bytes()
    assert second.optimizer.read_bytes() == first.optimizer.read_bytes()
    records = [read_record(checkpoint.trainer, TrainerRecord) for checkpoint in (first, second)]
    assert records[0] is not None and records[1] is not None
    assert structs.replace(records[1], attempt=1, time=records[0].time) == records[0]
    assert curve(paths) == curve(undisturbed)
