"""What the tests of supervising share: attempts that can be disturbed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from linftui.launch.plan import LaunchPlan
from linftui.launch.prepare import create_run
from linftui.launch.supervisor import Supervisor
from linftui.processes.signalling import end_members
from linftui.recipe.load import load_recipe
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ExitRecord, ProcessRecord, StateRecord
from linftui.rundir.store import RunStore
from linftui.rundir.tail import last_metrics
from support.waiting import PATIENCE_S, wait_for

PLAN, TWO = (LaunchPlan(devices=("cpu",) * ranks, threads=1) for ranks in (1, 2))

# Two images a batch: an evaluation takes half a second, so that there is time to interfere. Same weights.
SLOW = ["evaluation.batch_size=2", "evaluation.reestimate_means=true", "log.every_steps=1"]


def finish(supervisor: Supervisor) -> ExitRecord:
    """Supervises an attempt to its end."""
    deadline = time.monotonic() + PATIENCE_S
    while (ended := supervisor.poll(0.1)) is None:
        assert time.monotonic() < deadline, "the worker does not end"
    return ended


def watch(supervisor: Supervisor, enough: Callable[[], object]) -> None:
    """Supervises an attempt until something is true."""

    def polled() -> object:
        assert supervisor.poll() is None, "the attempt ended too early"
        return enough()

    wait_for(polled)


def step_of(paths: RunPaths) -> int:
    """The step of the newest training record."""
    train, _ = last_metrics(paths.metrics)
    return train.step if train else 0


def members(paths: RunPaths) -> dict[str, ProcessRecord]:
    state = read_record(paths.state, StateRecord)
    return {member.role: member for member in state.members} if state else {}


def slowly(recipe: Path, folder: Path, plan: LaunchPlan, overrides: list[str]) -> Iterator[Supervisor]:
    """A run that goes on for some seconds, at step 13 or a little after: the first checkpoint is there."""
    paths = create_run(RunStore(folder), load_recipe(recipe, overrides), plan, "run")
    supervisor = Supervisor(paths, plan)
    watch(supervisor, lambda: step_of(paths) >= 13)
    yield supervisor
    end_members(paths, [member for member in members(paths).values() if member.role != "supervisor"])
    finish(supervisor)
