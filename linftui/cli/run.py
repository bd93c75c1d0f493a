"""`linftui run` and `linftui resume`: start an attempt and watch it, here in the foreground."""

import contextlib
import signal
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from linftui.cli.options import AsJson, Devices, Overrides, RecipeName, RunName, RunsDir
from linftui.cli.render import clean, print_json, summary_json, warn
from linftui.errors import CheckpointError, RunDirectoryError, RunStateError, UsageError, WorkerError
from linftui.launch.plan import LaunchPlan
from linftui.launch.supervisor import Supervisor
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, complete_checkpoints, read_record
from linftui.rundir.records import ExitRecord, StateRecord, TrainerRecord

if TYPE_CHECKING:
    from linftui.recipe.schema import Recipe


def run(
    recipe: RecipeName,
    set_: Overrides = [],  # noqa: B006 - typer copies it
    name: Annotated[str | None, typer.Option(help="The run's id instead of a made-up one.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N.")] = None,
    devices: Devices = "auto",
    runs_dir: RunsDir = Path("runs"),
    as_json: AsJson = False,
) -> int:
    """Train a recipe. Ctrl-C saves a checkpoint, stops, and says how to go on."""
    from linftui.cli.data import fetch_with_progress
    from linftui.devices import snapshot
    from linftui.launch.plan import plan_devices
    from linftui.launch.prepare import create_run
    from linftui.recipe.load import load_recipe
    from linftui.rundir.store import RunStore

    overrides = [*set_, *([] if seed is None else [f"seed={seed}"])]
    loaded = load_recipe(recipe, overrides)
    for caution in loaded.recipe.cautions():
        warn(caution)
    plan = plan_devices(devices, snapshot())
    fetch_with_progress(loaded.recipe.data.dataset, loaded.recipe.data.root)
    paths = create_run(RunStore(runs_dir), loaded, plan, name)
    return _supervise(Supervisor(paths, plan), as_json)


def resume(
    run: RunName,
    checkpoint: Annotated[
        int | None, typer.Option(help="Go on from the checkpoint at this step, not the newest.")
    ] = None,
    devices: Annotated[
        str | None, typer.Option("--devices", help="As for run; default: those of the attempt before.")
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    as_json: AsJson = False,
) -> int:
    """Go on with a run that stopped, failed or crashed, from its newest checkpoint."""
    from linftui.cli.data import fetch_with_progress
    from linftui.devices import snapshot
    from linftui.launch.plan import plan_devices
    from linftui.rundir.state import run_state
    from linftui.rundir.store import RunStore, read_recipe

    paths = RunStore(runs_dir).find(run)
    recipe = read_recipe(paths)
    if checkpoint is None and run_state(paths) == "finished":
        raise RunStateError(f"{paths.id} is finished", f"certify it with: linftui certify {paths.root}")
    _require_checkpoint(paths, recipe, checkpoint)
    RunReader(paths).metrics()  # what cannot be followed is not begun
    plan = _same_plan(paths) if devices is None else plan_devices(devices, snapshot())
    fetch_with_progress(recipe.data.dataset, recipe.data.root)
    return _supervise(Supervisor(paths, plan, checkpoint), as_json)


def _same_plan(paths: RunPaths) -> LaunchPlan:
    """Devices and threads of the attempt before: with other threads, sums would be rounded otherwise."""
    from linftui.devices import snapshot
    from linftui.launch.plan import plan_devices

    before = read_record(paths.state, StateRecord)
    if before is None or not before.devices or before.threads < 1:
        return plan_devices("auto", snapshot())
    return replace(plan_devices(",".join(before.devices), snapshot()), threads=before.threads)


def _require_checkpoint(paths: RunPaths, recipe: "Recipe", step: int | None) -> None:
    """Refuses what cannot work before an attempt is begun."""
    from linftui.recipe.load import recipe_hash

    known = {int(found.root.name.removeprefix("step-")): found for found in complete_checkpoints(paths)}
    if step is not None and step not in known:
        raise UsageError(
            f"{paths.id} has no complete checkpoint at step {step}",
            f"it has: {', '.join(map(str, known)) or 'none'}",
        )
    for found in known.values() if step is None else [known[step]]:
        with contextlib.suppress(RunDirectoryError):  # a damaged one is passed over later, with a warning
            record = read_record(found.trainer, TrainerRecord)
            if record is not None and record.recipe_hash != recipe_hash(recipe):
                raise CheckpointError(f"checkpoint {found.root.name} belongs to another recipe")


class _StopOnSignal:
    """Ctrl-C, a hang-up or a polite kill asks the run to stop; Ctrl-C again ends it at once."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.received: int | None = None
        self.killed = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            self.killed = True
            self.supervisor.kill()
            return
        self.received = self.received or number
        self.supervisor.request_stop(signal.Signals(number).name)


def _supervise(supervisor: Supervisor, as_json: bool) -> int:
    """Watches the attempt to its end; returns the command's exit code."""
    stop = _StopOnSignal(supervisor)  # before the import, which takes a moment

    from linftui.cli.progress import watch

    paths = supervisor.paths
    ended = watch(supervisor, lambda: stop.received is not None, quiet=as_json)
    if as_json:
        from linftui.rundir.store import summarise

        print_json(summary_json(summarise(paths)))
    else:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(clean(_closing_line(paths, ended)), flush=True)
    if ended.outcome in ("failed", "crashed") and not stop.killed:
        raise WorkerError(ended.message, ended.hint)
    return 0 if ended.outcome == "finished" else 128 + (stop.received or signal.SIGTERM)


def _closing_line(paths: RunPaths, ended: ExitRecord) -> str:
    if ended.outcome == "finished":
        return f"finished: {paths.root}  next: linftui certify {paths.root}"
    if not complete_checkpoints(paths):
        return f"{ended.outcome}: {paths.root}  no checkpoint was saved"
    return f"{ended.outcome}: {paths.root}  go on with: linftui resume {paths.root}"
