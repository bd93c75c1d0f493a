"""What keys do to runs. Each of these may block, so it is called in a thread and never by a widget."""

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

from linftui.devices import DeviceSnapshot, snapshot
from linftui.errors import CertificationError, CheckpointError, DeviceError, LinftuiError, UsageError
from linftui.launch.begin import begin_attempt, begin_run, plan_resume
from linftui.launch.certification import (
    CertificationProgress,
    begin_certification,
    certifications,
    check_certification,
    stop_certification,
)
from linftui.launch.control import stop_run
from linftui.launch.plan import LaunchPlan, plan_devices
from linftui.recipe.load import LoadedRecipe, load_recipe, recipe_folders
from linftui.recipe.schema import format_fraction, parse_radius
from linftui.rundir import records
from linftui.rundir.checkpoints import choose, newest_readable
from linftui.rundir.paths import CertifyLogPaths, RunPaths, certificate_name
from linftui.rundir.reader import complete_checkpoints
from linftui.rundir.records import Means
from linftui.rundir.state import run_state
from linftui.rundir.store import RunStore, read_recipe

Tell = Callable[[str], None]  # says in a few words how far something is


@dataclass(frozen=True)
class LaunchRequest:
    """What a person typed to train a recipe."""

    recipe: str
    overrides: tuple[str, ...] = ()
    devices: str = "auto"
    name: str = ""


@dataclass(frozen=True)
class CertifyRequest:
    """What a person typed to certify a run; `radii` are exact, with commas between."""

    paths: RunPaths
    radii: str
    checkpoint: str = "latest"
    means: str = "running"
    devices: str = "auto"


@dataclass(frozen=True)
class KnownRecipe:
    """A recipe that can be chosen from a list."""

    name: str
    path: Path
    description: str
    problem: str = ""


def known_recipes() -> list[KnownRecipe]:
    """The recipes of this folder, then those that came along; of two with one name, the first."""
    found: dict[str, KnownRecipe] = {}
    for folder in recipe_folders():
        for path in sorted(folder.glob("*.yaml")):
            if path.stem in found:
                continue
            try:
                description, problem = load_recipe(path).recipe.description, ""
            except LinftuiError as error:
                description, problem = "", str(error)
            found[path.stem] = KnownRecipe(path.stem, path, description, problem)
    return list(found.values())


def check(store: RunStore, request: LaunchRequest, machine: DeviceSnapshot) -> LoadedRecipe:
    """The recipe with its overrides. Raises LinftuiError for what `launch` would refuse of the request."""
    loaded = load_recipe(request.recipe, request.overrides)
    plan_devices(request.devices, machine)
    if request.name:
        store.named(request.name)
    return loaded


def launch(store: RunStore, request: LaunchRequest, tell: Tell) -> RunPaths:
    """Begins a run that goes on without us, its data set fetched first. Raises LinftuiError."""
    machine = snapshot()
    loaded = check(store, request, machine)
    _fetch(loaded.recipe.data.dataset, loaded.recipe.data.root, tell)
    tell(f"starting {loaded.recipe.name}")
    return begin_run(store, loaded, plan_devices(request.devices, machine), request.name or None)


def stop(paths: RunPaths, *, at_once: bool) -> None:
    """Asks a run to save and stop, or ends it at once. Raises LinftuiError."""
    if at_once or run_state(paths) != "stopping":  # else somebody has asked already, and once is enough
        stop_run(paths, "the dashboard")


def resume_point(paths: RunPaths) -> int | None:
    """The step that `resume` goes on from, if that checkpoint's tensors are intact; None: from the beginning.

    Raises:
        CheckpointError: all that were saved are damaged.
    """
    checkpoint = newest_readable(paths)
    if checkpoint is not None:
        return checkpoint.step
    if complete_checkpoints(paths):
        raise CheckpointError(
            f"{paths.id} has no intact checkpoint to go on from", "start another run of its recipe"
        )
    return None


def resume(paths: RunPaths, tell: Tell) -> int:
    """Begins the next attempt of a run, and returns its number. Raises LinftuiError."""
    tell(f"resuming {paths.id}")
    try:
        plan = plan_resume(paths)
    except DeviceError as error:  # those of the attempt before
        other = f"choose others with: linftui resume {shlex.quote(str(paths.root))} --devices ..."
        raise DeviceError(error.message, other) from error
    recipe = read_recipe(paths)
    _fetch(recipe.data.dataset, recipe.data.root, tell)
    return begin_attempt(paths, plan)


def plan_certification(request: CertifyRequest, machine: DeviceSnapshot) -> LaunchPlan:
    """The device. Raises LinftuiError for what `certify` would refuse of the request."""
    radii(request)
    plan = plan_devices(request.devices, machine)
    check_certification(request.paths, plan, _record(request))
    return plan


def certify(request: CertifyRequest, tell: Tell) -> None:
    """Begins a certification that goes on without us; returns once it has loaded the network.

    Raises:
        LinftuiError: it cannot be begun, or what it has loaded cannot be certified.
    """
    plan, wanted = plan_certification(request, snapshot()), radii(request)
    recipe = read_recipe(request.paths)
    _fetch(recipe.data.dataset, recipe.data.root, tell)
    tell(f"certifying {request.paths.id}")
    _refuse_what_goes_on(request, wanted)
    logs = begin_certification(request.paths, plan, _record(request))
    while (own := _progress(request.paths, logs)) is not None and own.state == "running":
        if own.certificates:  # it has said what it makes, so that it is told from another
            return
        time.sleep(0.1)
    if own is not None and own.refused:
        raise CertificationError(own.error)


def _record(request: CertifyRequest) -> records.CertifyRequest:
    eps, means = list(map(format_fraction, radii(request))), cast(Means, request.means)
    return records.CertifyRequest(eps=eps, checkpoint=request.checkpoint, means=means)


def _refuse_what_goes_on(request: CertifyRequest, wanted: list[Fraction]) -> None:
    """Raises UsageError where each certificate that is asked for is being made already."""
    checkpoint = choose(request.paths, request.checkpoint)
    folder = "" if checkpoint is None else checkpoint.root.name
    names = {certificate_name(folder, eps, request.means) for eps in wanted}
    running = [found for found in certifications(request.paths) if found.state == "running"]
    going_on = {paths.root.name for found in running for paths, _ in found.certificates}
    if names <= going_on:
        raise UsageError(
            f"this very certification of {folder} is already running",
            "wait for its end, or stop it with ctrl+s",
        )


def _progress(paths: RunPaths, logs: CertifyLogPaths) -> CertificationProgress | None:
    """How far this certification is; None where what it says of itself was removed."""
    return next((found for found in certifications(paths) if found.logs == logs), None)


def stop_certifying(paths: RunPaths) -> None:
    """Lets the certifications of a run that are going on stop after their batch. Raises LinftuiError."""
    running = [found.logs for found in certifications(paths) if found.state == "running"]
    if not running:
        raise UsageError(f"nothing of {paths.id} is being certified any more")
    for logs in running:
        stop_certification(paths, logs)


def radii(request: CertifyRequest) -> list[Fraction]:
    """The radii asked for, each once. Raises UsageError where one is none."""
    return list(dict.fromkeys(_radius(text) for text in request.radii.split(",")))


def _radius(text: str) -> Fraction:
    try:
        return parse_radius(text)
    except ValueError as error:
        raise UsageError(f"--eps {error}") from error


def _fetch(dataset: str, root: str | None, tell: Tell) -> None:
    from linftui.data.download import ensure  # brings requests along, which nobody needs to look at runs

    def show(name: str, done: int, total: int | None) -> None:
        of = f" of {total / 2**20:.0f}" if total else ""
        tell(f"downloading {name}: {done / 2**20:.0f}{of} MiB")

    tell(f"checking {dataset}")
    ensure(dataset, None if root is None else Path(root), show)
