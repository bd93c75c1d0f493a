"""Resuming a run that has ended, as its next attempt."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linftui.actions.data import fetch_for
from linftui.actions.telling import Report, silent
from linftui.actions.why_not import why_not
from linftui.errors import CheckpointError, DeviceError, RunStateError
from linftui.launch.begin import begin_attempt, plan_resume
from linftui.launch.logout import logout_warning
from linftui.launch.plan import LaunchPlan
from linftui.recipe.schema import Recipe
from linftui.rundir.checkpoints import complete_checkpoints, newest_readable
from linftui.rundir.paths import RunPaths
from linftui.rundir.state import run_state
from linftui.rundir.store import read_recipe

if TYPE_CHECKING:
    from linftui.data.download import Progress


@dataclass(frozen=True)
class ResumeRequest:
    """What a user asked to resume; None: the newest checkpoint, the previous attempt's devices."""

    paths: RunPaths
    checkpoint: int | None = None
    devices: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class ResumePlan:
    """What a request leads to, and what the user should know before it starts."""

    request: ResumeRequest
    recipe: Recipe
    launch: LaunchPlan
    step: int | None  # to resume from; None: from the beginning
    warnings: tuple[str, ...]


def check(request: ResumeRequest) -> ResumePlan:
    """Plans the next attempt: its devices, and the step of an intact checkpoint to resume from.

    Raises:
        RunStateError: the run is finished, and no checkpoint is named.
        LinftuiError: it cannot be resumed for another reason.
    """
    paths, recipe = request.paths, read_recipe(request.paths)
    if request.checkpoint is None and run_state(paths) == "finished":
        hint = f"certify it with: linftui certify {shlex.quote(str(paths.root))}"
        raise RunStateError(why_not("resume", "finished", paths.id), hint)
    try:
        launch = plan_resume(paths, request.checkpoint, request.devices, request.threads)
    except DeviceError as error:
        if request.devices is not None:
            raise
        other = f"choose others with: linftui resume {shlex.quote(str(paths.root))} --devices ..."
        raise DeviceError(error.message, other) from error  # the previous attempt's
    step = _newest_step(paths) if request.checkpoint is None else request.checkpoint
    return ResumePlan(request, recipe, launch, step, tuple(filter(None, (logout_warning(),))))


def _newest_step(paths: RunPaths) -> int | None:
    checkpoint = newest_readable(paths)
    if checkpoint is not None:
        return checkpoint.step
    if complete_checkpoints(paths):
        raise CheckpointError(
            f"{paths.id} has no intact checkpoint to resume from", "start a new run of its recipe"
        )
    return None


def begin(plan: ResumePlan, report: Report = silent, progress: "Progress | None" = None) -> int:
    """Starts the next attempt as processes of its own, and returns its number.

    Arguments as for `train.begin`.

    Raises:
        LinftuiError: it cannot be started.
    """
    paths = plan.request.paths
    report(f"resuming {paths.id}")
    fetch_for(plan.recipe.data, report, progress)
    return begin_attempt(paths, plan.launch, plan.request.checkpoint)
