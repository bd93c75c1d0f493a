"""`linftui run` and `linftui resume`: start an attempt, then open the dashboard on it or follow it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linftui.cli import completion
from linftui.cli.options import AsJson, Devices, Overrides, RecipeName, RunName, RunsDir, Threads
from linftui.cli.render import print_json, warn
from linftui.cli.screen import has_screen
from linftui.launch.plan import LaunchPlan
from linftui.rundir.paths import DEFAULT_ROOT, RunPaths
from linftui.text import clean

if TYPE_CHECKING:
    from linftui.recipe.load import LoadedRecipe

Detach = Annotated[bool, typer.Option("--detach", help="Return at once; print the run's id.")]
NoTui = Annotated[bool, typer.Option("--no-tui", help="Follow in plain lines, without the dashboard.")]


def run(
    recipe: RecipeName,
    set_: Overrides = [],  # noqa: B006 - typer copies it
    name: Annotated[str | None, typer.Option(help="The run's id, instead of a generated one.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N.")] = None,
    devices: Devices = "auto",
    threads: Threads = None,
    detach: Detach = False,
    no_tui: NoTui = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be started, and start nothing.")
    ] = False,
    runs_dir: RunsDir = DEFAULT_ROOT,
    as_json: AsJson = False,
) -> int:
    """Train a recipe. The run is independent: closing the dashboard, or this terminal, does not end it."""
    from linftui.actions import train
    from linftui.cli.data import download_bar
    from linftui.devices import snapshot
    from linftui.rundir.store import RunStore

    overrides = (*set_, *(() if seed is None else (f"seed={seed}",)))
    store = RunStore(runs_dir)
    plan = train.check(store, train.TrainRequest(recipe, overrides, devices, name, threads), snapshot())
    for warning in plan.warnings:
        warn(warning)
    if dry_run:
        _show_plan(plan.loaded, plan.launch, runs_dir, as_json)
        return 0
    with download_bar() as progress:
        paths = train.begin(store, plan, progress=progress)
    return _watch(paths, 1, detach=detach, no_tui=no_tui, as_json=as_json)


def resume(
    run: RunName,
    checkpoint: Annotated[
        int | None,
        typer.Option(
            help="Resume from the checkpoint at this step instead of the newest.",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            help="As for run; default: as in the previous attempt.",
            autocompletion=completion.devices,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, max=1024, help="As for run; default: as in the previous attempt."),
    ] = None,
    detach: Detach = False,
    no_tui: NoTui = False,
    runs_dir: RunsDir = DEFAULT_ROOT,
    as_json: AsJson = False,
) -> int:
    """Resume a run that stopped, failed or crashed, from its newest checkpoint."""
    from linftui.actions.resume import ResumeRequest, begin, check
    from linftui.cli.data import download_bar
    from linftui.rundir.store import RunStore

    paths = RunStore(runs_dir).find(run)
    plan = check(ResumeRequest(paths, checkpoint, devices, threads))
    for warning in plan.warnings:
        warn(warning)
    with download_bar() as progress:
        attempt = begin(plan, progress=progress)
    return _watch(paths, attempt, detach=detach, no_tui=no_tui, as_json=as_json)


def _watch(paths: RunPaths, attempt: int, *, detach: bool, no_tui: bool, as_json: bool) -> int:
    if detach:
        if as_json:
            print_json({"id": paths.id, "attempt": attempt, "path": str(paths.root)})
        else:
            print(clean(paths.id))
        return 0
    if has_screen() and not (no_tui or as_json):
        from linftui.tui.app import open_dashboard

        return open_dashboard(paths.root.parent, paths)
    from linftui.cli.follow import follow

    return follow(paths, attempt, as_json=as_json)


def _show_plan(loaded: "LoadedRecipe", plan: LaunchPlan, runs_dir: Path, as_json: bool) -> None:
    recipe = loaded.recipe
    facts: dict[str, Any] = {
        "recipe": recipe.name,
        "source": loaded.source,
        "overrides": list(loaded.overrides),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "runs_dir": str(runs_dir),
        "devices": list(plan.devices),
        "ranks": plan.ranks,
        "threads": plan.threads,
        "command": plan.training_command(Path("RENDEZVOUS"), "train", "RUN"),
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        print(clean(f"{name:<11} {words or '-'}"))
