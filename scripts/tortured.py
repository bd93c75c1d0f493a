"""What `torture.py` works with: a run that is disturbed again and again, and what is found out about it.

Moments are spread over the whole life of an attempt: while it starts, before its ranks have said who they
are; while it trains; and at the end of an epoch, when it evaluates and saves.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil
from msgspec import structs

from linftui.errors import LinftuiError
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, latest_by_step, read_all, read_record
from linftui.rundir.records import Metric, StateRecord, TrainerRecord, TrainRecord
from linftui.rundir.state import GOING_ON, run_state

EPOCH = 11  # steps, of 1,337 training images
RECIPE = """\
name: tortured
epochs: {epochs}
batch_size: 128
data: {{dataset: digits, holdout: 100, augment: {{crop_padding: 1}}}}
model: {{width: 32, depth: 3}}
eps: {{train: 0.3, test: 0.1}}
p: {{begin_epoch: 2, end_epoch: {infinite}}}
objective:
  lam: {{start: 0.1, end: 0.001}}
evaluation: {{reestimate_means: true, batch_size: 40}}
log: {{every_steps: 1}}
"""

# What the design promises, in seconds after a kill.
STATE_RIGHT_S, NOBODY_LEFT_S = 5.0, 30.0
PATIENCE_S = 300.0  # far beyond what anything here takes, even on a busy machine


@dataclass
class Result:
    """What one case has cost: what `failed` adds up should be 0."""

    case: str
    disturbances: int = 0
    lost_lines: int = 0
    unreadable: int = 0
    orphans: int = 0
    wrong_states: int = 0
    given_up: int = 0  # runs that could not be disturbed as planned
    unlike: int = 0  # runs or certificates that ended otherwise than undisturbed ones
    compared: int = 0
    wrong_for_s: float = 0.0  # the longest that a state was wrong at a stretch
    left_for_s: float = 0.0  # the longest until nobody was left
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(
            self.lost_lines + self.unreadable + self.orphans + self.wrong_states + self.given_up + self.unlike
        )


class TortureError(Exception):
    """The campaign itself cannot go on."""


@dataclass(frozen=True)
class Process:
    """A process that works on a run; `attempt` is unknown for a supervisor."""

    pid: int
    role: str
    attempt: int | None


def wait_for(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> bool:
    """Whether something became true in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def insist(condition: Callable[[], object], what: str) -> None:
    if not wait_for(condition):
        raise TortureError(f"waited in vain: {what}")


ROLES = {
    "linftui.launch.supervisor": "supervisor",
    "torch.distributed.run": "torchrun",
    "linftui.worker": "rank",
}


def processes(root: Path) -> list[Process]:
    """Who works on a run, whether or not anybody has recorded it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has just ended
        # torchrun's words are followed by those of the ranks; a command that a person gave has no role.
        role = next((ROLES[word] for word in words if word in ROLES), None)
        if str(root) in words and role is not None:
            attempt = int(words[words.index("--attempt") + 1]) if "--attempt" in words else None
            found.append(Process(int(entry.name), role, attempt))
    return found


def parent(pid: int) -> int | None:
    """None of a process that is gone."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).ppid()
    return None


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def current_attempt(paths: RunPaths) -> int:
    state = read_record(paths.state, StateRecord)
    return 0 if state is None else state.attempt


def command(*arguments: str, cwd: Path, cores: int) -> subprocess.Popen[str]:
    """A real `linftui` on so many cores."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    return subprocess.Popen(
        [sys.executable, "-m", "linftui", *arguments],
        cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )  # fmt: skip


def committed(paths: RunPaths) -> list[bytes]:
    """The whole lines of both logs."""
    logs = [path.read_bytes() if path.exists() else b"" for path in (paths.metrics, paths.events)]
    return [log[: log.rfind(b"\n") + 1] for log in logs]


def curve(paths: RunPaths) -> list[Metric]:
    """What a person sees of a run, without times, speeds, and who did it."""
    return [
        structs.replace(record, attempt=0, time=0.0, images_per_s=0.0)
        if isinstance(record, TrainRecord)
        else structs.replace(record, attempt=0, time=0.0, seconds=0.0)
        for record in latest_by_step(read_all(paths))
    ]


class Campaign:
    """What all cases share: a folder, a random generator, and the runs that nobody disturbed.

    Args:
        folder: where everything happens; absolute.
        seed: decides the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.undisturbed = cache(self._train_undisturbed)

    def recipe(self, epochs: int) -> Path:
        path = self.folder / f"tortured-{epochs}.yaml"
        path.write_text(RECIPE.format(epochs=epochs, infinite=epochs - 2))
        return path

    def _train_undisturbed(self, ranks: int, epochs: int) -> tuple[RunPaths, float]:
        """A run that nobody disturbs, and how long it took until its first step."""
        name, started = f"undisturbed-{ranks}-{epochs}", time.monotonic()
        begun = command(
            "run", str(self.recipe(epochs)), "--name", name, "--devices", f"cpu:{ranks}", "--detach",
            cwd=self.folder, cores=ranks,
        )  # fmt: skip
        if begun.communicate(timeout=PATIENCE_S)[1] or begun.returncode:
            raise TortureError("an undisturbed run cannot be started")
        paths = RunPaths(self.folder / "runs" / name)
        insist(lambda: read_all(paths), "the first record of an undisturbed run")
        start_up_s = time.monotonic() - started
        insist(lambda: run_state(paths) not in GOING_ON, "the end of an undisturbed run")
        if run_state(paths) != "finished":
            raise TortureError(f"an undisturbed run has {run_state(paths)}")
        return paths, start_up_s


class Tortured:
    """One run that is disturbed again and again, and what that did to it.

    Args:
        campaign: what is shared.
        result: where findings are counted.
        ranks: of the run.
        epochs: so many that it does not end before the last disturbance.
        folder: where its folder of runs is.
    """

    def __init__(
        self, campaign: Campaign, result: Result, ranks: int, epochs: int, folder: Path, chance: random.Random
    ) -> None:
        self.campaign, self.result, self.ranks, self.epochs = campaign, result, ranks, epochs
        self.folder, self.chance = folder, chance
        self.expected, self.start_up_s = campaign.undisturbed(ranks, epochs)
        self.paths = RunPaths(folder / "runs" / "tortured")
        self._lines = [b"", b""]

    def begin(self) -> subprocess.Popen[str]:
        """Starts it, or goes on with it; returns the command, which ends once the supervisor has started."""
        where = ["--devices", f"cpu:{self.ranks}", "--detach"]
        if self.paths.meta.exists():
            return command("resume", str(self.paths.root), *where[2:], cwd=self.folder, cores=self.ranks)
        recipe = str(self.campaign.recipe(self.epochs))
        return command("run", recipe, "--name", self.paths.id, *where, cwd=self.folder, cores=self.ranks)

    def wait_for_moment(self, n: int, since: int) -> None:
        """Waits for a random moment in the life of the attempt after `since`, each kind in its turn."""
        reader, steps = RunReader(self.paths), list[int]()

        def done() -> list[int]:
            new = reader.metrics()
            steps.extend(r.step for r in new if isinstance(r, TrainRecord) and r.attempt > since)
            return steps

        if n % 3 == 0:  # in training
            enough = self.chance.randint(1, 2 * EPOCH)
            self._insist(lambda: len(done()) >= enough, "a step")
        elif n % 3 == 1:  # while it starts
            moment = time.monotonic() + self.chance.uniform(0, self.start_up_s)
            self._insist(lambda: time.monotonic() > moment or done(), "a moment while it starts")
        else:  # at the end of an epoch, when it evaluates and saves
            self._insist(lambda: any(step % EPOCH == 0 for step in done()), "the end of an epoch")
            time.sleep(self.chance.uniform(0, 0.3))

    def _insist(self, condition: Callable[[], object], what: str) -> None:
        """Waits for something; where it does not come, the ranks are asked what they do instead."""
        if wait_for(condition):
            return
        left = processes(self.paths.root)
        for process in left:
            if process.role == "rank":
                os.kill(process.pid, signal.SIGQUIT)
        time.sleep(2.0)
        logs = sorted(self.paths.logs(current_attempt(self.paths)).glob("*.log"))
        told = "".join(f"\n---- {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in logs)
        raise TortureError(f"waited in vain: {what}; it is {run_state(self.paths)}, with {left}{told}")

    def kill_one(self, target: str) -> float:
        """Kills a process of that kind, and returns when it was gone."""
        pids: list[int] = []

        def found() -> list[int]:
            pids[:] = [p.pid for p in processes(self.paths.root) if p.role == target]
            return pids

        insist(found, f"a {target}")
        if target == "rank":  # not a child of one, which has its words until it executes something else
            pids = [self.chance.choice([pid for pid in pids if parent(pid) not in pids])]
        for pid in pids:  # a supervisor begins as two
            kill(pid)
        # One that waits for a disk dies once the disk has answered.
        insist(lambda: all(p.pid not in pids for p in processes(self.paths.root)), f"the death of a {target}")
        return time.monotonic()

    def follow_the_end(self, since: float, is_right: Callable[[list[Process]], bool]) -> None:
        """Watches until what is shown is right and nobody is left; counts what takes too long.

        A rank that saves without its supervisor changes what is right once more when it leaves.
        """
        right_at = since
        while True:
            left = processes(self.paths.root)
            right, now = self._shown_right(is_right, left), time.monotonic()
            self.result.wrong_for_s = max(self.result.wrong_for_s, now - right_at)
            if right:
                right_at = now
            if right and not left:
                self.result.left_for_s = max(self.result.left_for_s, now - since)
                return
            if now - right_at > STATE_RIGHT_S:
                self.result.wrong_states += 1
                self.result.notes.append(f"{run_state(self.paths)} with {left}")
                return
            if now - since > NOBODY_LEFT_S:
                self.count_orphans(left)
                return
            time.sleep(0.02)

    def _shown_right(self, is_right: Callable[[list[Process]], bool], left: list[Process]) -> bool:
        try:
            return is_right(left)
        except LinftuiError as error:
            self.result.unreadable += 1
            self.result.notes.append(str(error))
            return False

    def wait_for_orphans(self, attempt: int, since: float) -> None:
        """Counts who is left of this attempt and those before, after as long as the design allows."""

        def left() -> list[Process]:
            return [p for p in processes(self.paths.root) if p.attempt is not None and p.attempt <= attempt]

        wait_for(lambda: not left(), since + NOBODY_LEFT_S - time.monotonic())
        self.result.left_for_s = max(self.result.left_for_s, time.monotonic() - since)
        self.count_orphans(left())

    def count_orphans(self, left: list[Process]) -> None:
        self.result.orphans += len(left)
        self.result.notes += [f"left: {process}" for process in left]
        for process in left:
            kill(process.pid)

    def check_lines(self) -> None:
        """Counts committed lines that are gone, and files that cannot be read."""
        lines, earlier = committed(self.paths), self._lines
        for now, before in zip(lines, earlier, strict=True):
            if not now.startswith(before):
                kept = os.path.commonprefix([now, before])
                self.result.lost_lines += before[len(kept) :].count(b"\n")
        self._lines = lines
        try:
            read_all(self.paths), RunReader(self.paths).events(), run_state(self.paths)
        except LinftuiError as error:
            self.result.unreadable += 1
            self.result.notes.append(str(error))

    def finish(self) -> None:
        """Lets the run come to its end and compares it with the undisturbed one, bit by bit."""
        self._insist(lambda: run_state(self.paths) not in GOING_ON, "the end")
        if run_state(self.paths) != "finished":
            self.begin().communicate(timeout=PATIENCE_S)
            self._insist(lambda: run_state(self.paths) not in GOING_ON, "the end")
        self.check_lines()
        self.result.compared += 1
        if difference := self._difference():
            self.result.unlike += 1
            self.result.notes.append(difference)

    def _difference(self) -> str:
        if run_state(self.paths) != "finished":
            return f"it does not finish: {run_state(self.paths)}"
        first, second = (run.checkpoint(self.epochs * EPOCH) for run in (self.expected, self.paths))
        for one, other in ((first.model, second.model), (first.optimizer, second.optimizer)):
            if one.read_bytes() != other.read_bytes():
                return f"{one.name} differs"
        records = [read_record(checkpoint.trainer, TrainerRecord) for checkpoint in (first, second)]
        if records[0] is None or records[1] is None:
            return "trainer.json is missing"
        if structs.replace(records[1], attempt=1, time=records[0].time) != records[0]:
            return "trainer.json differs"
        if curve(self.paths) != curve(self.expected):
            return "the curve differs"
        metrics = read_all(self.paths)
        trained = [(r.attempt, r.step) for r in metrics if isinstance(r, TrainRecord)]
        if [r.attempt for r in metrics] != sorted(r.attempt for r in metrics) or len(set(trained)) < len(
            trained
        ):
            return "two attempts wrote at once"
        return ""

    def close(self) -> None:
        """Nobody works on it any more, and it is gone."""
        for process in processes(self.paths.root):
            kill(process.pid)
        shutil.rmtree(self.paths.root, ignore_errors=True)


def epochs_for(disturbances: int) -> int:
    """So many epochs that a run cannot end before it was disturbed so often."""
    return 4 + 2 * disturbances
