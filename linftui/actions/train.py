"""Training a recipe as a new run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from linftui.actions.data import fetch_for
from linftui.actions.telling import Report, silent
from linftui.devices import DeviceSnapshot
from linftui.launch.begin import begin_run
from linftui.launch.logout import logout_warning
from linftui.launch.placement import plan_devices
from linftui.launch.plan import LaunchPlan
from linftui.recipe.load import LoadedRecipe, load_recipe
from linftui.rundir.paths import RunPaths
from linftui.rundir.store import RunStore

if TYPE_CHECKING:
    from linftui.data.download import Progress


@dataclass(frozen=True)
class TrainRequest:
    """What a user typed to train a recipe; without a name, the run gets a generated id."""

    recipe: str
    overrides: tuple[str, ...] = ()
    devices: str = "auto"
    name: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class TrainPlan:
    """What a request leads to, and what the user should know before it starts."""

    request: TrainRequest
    loaded: LoadedRecipe
    launch: LaunchPlan
    warnings: tuple[str, ...]


def check(store: RunStore, request: TrainRequest, machine: DeviceSnapshot) -> TrainPlan:
    """Loads the recipe with its overrides and plans its devices. Raises LinftuiError."""
    loaded = load_recipe(request.recipe, request.overrides)
    launch = plan_devices(request.devices, machine, request.threads)
    store.require(new=True)
    if request.name is not None:
        store.named(request.name)
    warnings = (*loaded.recipe.cautions(), *filter(None, (logout_warning(),)))
    return TrainPlan(request, loaded, launch, warnings)


def begin(
    store: RunStore, plan: TrainPlan, report: Report = silent, progress: "Progress | None" = None
) -> RunPaths:
    """Starts a run as processes of its own, after fetching its data set.

    Args:
        store: the folder of runs.
        plan: what `check` found.
        report: called with what is being done.
        progress: called as a download advances; None: `report` is, in words.

    Raises:
        LinftuiError: it cannot be started; it leaves no files behind.
    """
    recipe = plan.loaded.recipe
    fetch_for(recipe.data, report, progress)
    report(f"starting {recipe.name}")
    return begin_run(store, plan.loaded, plan.launch, plan.request.name)
