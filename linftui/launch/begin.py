"""Beginning an attempt that outlives the command: its supervisor has its own session and no terminal."""

import contextlib
import os
import subprocess
import sys

from linftui.devices import snapshot
from linftui.errors import (
    CheckpointError,
    LinftuiError,
    RunDirectoryError,
    WorkerError,
)
from linftui.launch.environment import START_FOLDER, inherited
from linftui.launch.placement import plan_devices
from linftui.launch.plan import LaunchPlan
from linftui.launch.prepare import create_run
from linftui.launch.removal import withdraw_run
from linftui.processes.answer import parse_answer
from linftui.recipe.load import LoadedRecipe
from linftui.rundir.checkpoints import checkpoint_at, complete_checkpoints, finish_saving
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_record
from linftui.rundir.records import MetaRecord, StateRecord, TrainerRecord
from linftui.rundir.store import RunStore, read_resolved


def begin_run(store: RunStore, loaded: LoadedRecipe, plan: LaunchPlan, name: str | None) -> RunPaths:
    """Makes the run directory and begins its first attempt.

    Raises:
        LinftuiError: it cannot be written or started; nothing of it is left behind.
    """
    paths = create_run(store, loaded, plan, name)
    try:
        begin_attempt(paths, plan)
    except BaseException:  # Ctrl-C too; a supervisor that has taken the run by then keeps it
        withdraw_run(paths)
        raise
    return paths


def begin_attempt(paths: RunPaths, plan: LaunchPlan, checkpoint: int | None = None) -> int:
    """Starts a supervisor for the next attempt, and returns the attempt's number once it has started.

    Waits for processes that are left of an earlier attempt, which may take some seconds.

    Args:
        paths: the run directory.
        plan: devices and threads.
        checkpoint: the step to continue from; None: the newest checkpoint, or the beginning.

    Raises:
        RunStateError: the run is already going on.
        WorkerError: the supervisor cannot be started, or has no folder for temporary files.
    """
    chosen = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
    command = [
        sys.executable, "-P", "-m", "linftui.launch.supervisor", str(paths.root.absolute()),
        "--devices", ",".join(plan.devices), "--threads", str(plan.threads), *chosen,
    ]  # fmt: skip
    try:
        start = subprocess.run(  # returns once the supervisor closes its output
            command,
            cwd=START_FOLDER,
            env=inherited(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerError(f"the supervisor cannot be started: {error.strerror or error}") from error
    reply = parse_answer(start.stdout)
    if reply.attempt is not None:
        return reply.attempt
    failure = LinftuiError(reply.message, reply.hint)
    failure.exit_code = reply.exit_code
    raise failure


def plan_resume(
    paths: RunPaths,
    checkpoint: int | None = None,
    devices: str | None = None,
    threads: int | None = None,
) -> LaunchPlan:
    """Where a run continues: on the devices of the previous attempt, unless others are named.

    They are known even where state.json was never written or was deleted, since meta.json names them too.
    The number of threads is also that of the previous attempt, unless another is given; another one changes
    how sums are rounded.

    Raises:
        LinftuiError: it cannot continue: its recipe, its metrics or its checkpoints cannot be used.
    """
    recipe = read_resolved(paths)
    finish_saving(paths)
    _require_checkpoint(paths, recipe.hash, checkpoint)
    reader = RunReader(paths)
    for follow in (reader.metrics, reader.events, reader.devices):
        follow(1)  # an attempt that cannot be followed must not begin
    before = _previous_plan(paths)
    wanted = devices or ("auto" if before is None else before.spec)
    here = plan_devices(wanted, snapshot(), threads)  # the previous ones must still be there
    same = before is not None and before.devices == here.devices and before.threads > 0
    return before if before is not None and same and threads is None else here


def _previous_plan(paths: RunPaths) -> LaunchPlan | None:
    """What the run was last trained on, by state.json, or by meta.json where that is gone.

    meta.json describes the last attempt that began to compute. One of an older format has the devices of the
    first attempt and no number of threads, which is 0 then.
    """
    state = read_record(paths.state, StateRecord)
    if state is not None and state.devices and state.threads > 0:
        return LaunchPlan(devices=tuple(state.devices), threads=state.threads)
    meta = read_record(paths.meta, MetaRecord)
    if meta is None or not meta.devices:
        return None
    return LaunchPlan(devices=tuple(meta.devices), threads=max(0, meta.threads or 0))


def _require_checkpoint(paths: RunPaths, recipe: str, step: int | None) -> None:
    """Refuses a checkpoint that cannot work before an attempt begins; `recipe` is the hash of the run's."""
    for found in complete_checkpoints(paths) if step is None else [checkpoint_at(paths, step)]:
        with contextlib.suppress(RunDirectoryError):  # a damaged one is skipped later, with a warning
            record = read_record(found.trainer, TrainerRecord)
            if record is not None and record.recipe_hash != recipe:
                raise CheckpointError(f"checkpoint {found.root.name} belongs to another recipe")
