"""What keys do to runs. Each of these may block, so it is called in a thread and never by a widget."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from linftui.devices import DeviceSnapshot, snapshot
from linftui.errors import LinftuiError, UsageError
from linftui.launch.begin import begin_attempt, begin_run, plan_resume
from linftui.launch.certification import begin_certification, certifications, stop_certification
from linftui.launch.control import stop_run
from linftui.launch.plan import plan_devices
from linftui.recipe.load import LoadedRecipe, load_recipe, recipe_folders
from linftui.recipe.schema import parse_fraction
from linftui.rundir.certificates import certificate_name
from linftui.rundir.checkpoints import choose, step_of
from linftui.rundir.paths import CertifyLogPaths, RunPaths
from linftui.rundir.reader import complete_checkpoints, read_record
from linftui.rundir.records import TrainerRecord
from linftui.rundir.state import run_state
from linftui.rundir.store import RunStore, read_recipe

NAMED_S = 60.0  # a certification that loads for longer is begun all the same

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


def check(request: LaunchRequest, machine: DeviceSnapshot) -> LoadedRecipe:
    """The recipe with its overrides. Raises LinftuiError for what `launch` would refuse of it."""
    loaded = load_recipe(request.recipe, request.overrides)
    plan_devices(request.devices, machine)
    return loaded


def launch(store: RunStore, request: LaunchRequest, tell: Tell) -> RunPaths:
    """Begins a run that goes on without us, its data set fetched first. Raises LinftuiError."""
    loaded = load_recipe(request.recipe, request.overrides)
    plan = plan_devices(request.devices, snapshot())
    _fetch(loaded.recipe.data.dataset, loaded.recipe.data.root, tell)
    tell(f"starting {loaded.recipe.name}")
    return begin_run(store, loaded, plan, request.name or None)


def stop(paths: RunPaths, *, at_once: bool) -> None:
    """Asks a run to save and stop, or ends it at once. Raises LinftuiError."""
    if at_once or run_state(paths) != "stopping":  # else somebody has asked already, and once is enough
        stop_run(paths, "the dashboard")


def resume_point(paths: RunPaths) -> int | None:
    """The step that `resume` goes on from if the latest checkpoint is intact; None where there is none."""
    checkpoint = choose(paths, "latest")
    return None if checkpoint is None else step_of(checkpoint)


def resume(paths: RunPaths, tell: Tell) -> int:
    """Begins the next attempt of a run, and returns its number. Raises LinftuiError."""
    tell(f"resuming {paths.id}")
    plan = plan_resume(paths)
    recipe = read_recipe(paths)
    _fetch(recipe.data.dataset, recipe.data.root, tell)
    return begin_attempt(paths, plan)


def certify(request: CertifyRequest, tell: Tell) -> None:
    """Begins a certification that goes on without us. Raises LinftuiError."""
    wanted = radii(request)
    recipe = read_recipe(request.paths)
    _fetch(recipe.data.dataset, recipe.data.root, tell)
    tell(f"certifying {request.paths.id}")
    _refuse_what_goes_on(request, wanted)
    plan = plan_devices(request.devices, snapshot())
    logs = begin_certification(request.paths, plan, wanted, request.checkpoint, request.means)
    deadline = time.monotonic() + NAMED_S
    while not _is_named(request.paths, logs) and time.monotonic() < deadline:
        time.sleep(0.1)


def _refuse_what_goes_on(request: CertifyRequest, wanted: list[Fraction]) -> None:
    """Raises UsageError where each certificate that is asked for is being made already."""
    folder = _checkpoint_folder(request)
    names = {certificate_name(folder, eps, request.means) for eps in wanted}
    running = [found for found in certifications(request.paths) if found.state == "running"]
    going_on = {paths.root.name for found in running for paths, _ in found.certificates}
    if names <= going_on:
        raise UsageError(
            f"just this is being certified already, of {folder}", "wait for its end, or stop it with ctrl+s"
        )


def _checkpoint_folder(request: CertifyRequest) -> str:
    """The folder's name of the checkpoint that is asked for; empty where there is none."""
    if request.checkpoint.isdecimal():
        return request.paths.checkpoint(int(request.checkpoint)).root.name
    known = complete_checkpoints(request.paths)
    if not known or request.checkpoint == "latest":
        return known[-1].root.name if known else ""
    record = read_record(known[-1].trainer, TrainerRecord)
    return request.paths.checkpoint(record.best.step).root.name if record and record.best else ""


def _is_named(paths: RunPaths, logs: CertifyLogPaths) -> bool:
    """Whether a certification says what it makes, so that it is told from another; or has ended."""
    own = next((found for found in certifications(paths) if found.logs == logs), None)
    return own is None or own.state != "running" or bool(own.certificates)


def stop_certifying(paths: RunPaths) -> None:
    """Lets the certifications of a run that are going on stop after their batch. Raises LinftuiError."""
    running = [found.logs for found in certifications(paths) if found.state == "running"]
    if not running:
        raise UsageError(f"nothing of {paths.id} is being certified any more")
    for logs in running:
        stop_certification(paths, logs)


def radii(request: CertifyRequest) -> list[Fraction]:
    """The radii asked for, each once. Raises UsageError where something asked for is none."""
    if request.checkpoint not in ("latest", "best") and not request.checkpoint.isdecimal():
        raise UsageError(f"checkpoint {request.checkpoint!r} is not latest, best or a step")
    if request.means not in ("running", "re-estimated"):
        raise UsageError(f"means {request.means!r} is neither running nor re-estimated")
    return list(dict.fromkeys(_radius(text) for text in request.radii.split(",")))


def _radius(text: str) -> Fraction:
    try:
        eps = parse_fraction(text.strip())
    except ValueError as error:
        raise UsageError(f"eps {error}") from error
    if not 0 <= eps <= 1:
        raise UsageError(f"eps must lie in [0, 1], in pixel units, got {text.strip()}")
    return eps


def _fetch(dataset: str, root: str | None, tell: Tell) -> None:
    from linftui.data.download import ensure  # brings requests along, which nobody needs to look at runs

    def show(name: str, done: int, total: int | None) -> None:
        of = f" of {total / 2**20:.0f}" if total else ""
        tell(f"downloading {name}: {done / 2**20:.0f}{of} MiB")

    tell(f"checking {dataset}")
    ensure(dataset, None if root is None else Path(root), show)
