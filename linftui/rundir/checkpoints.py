"""Which checkpoint of a run is meant, by the records: the latest, the best, or the one at a step.

Whether its tensors are intact is known once they are loaded, which `linftui.checkpoint` does.
"""

import contextlib
import re

from linftui.errors import LinftuiError, NoSuchCheckpointError
from linftui.rundir.folders import finish_replacements
from linftui.rundir.paths import CHECKPOINT_NAME, CheckpointPaths, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import TrainerRecord
from linftui.rundir.store import read_recipe

_STEP = re.compile(r"\d{1,18}", re.ASCII)


def all_checkpoints(paths: RunPaths) -> list[CheckpointPaths]:
    """The run's checkpoint folders, by step, half-written ones included."""
    named = [path for path in paths.checkpoints.glob("step-*") if CHECKPOINT_NAME.fullmatch(path.name)]
    found = [CheckpointPaths(path) for path in named if not path.is_symlink()]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def complete_checkpoints(paths: RunPaths) -> list[CheckpointPaths]:
    """The run's complete checkpoints, by step; whether they are intact is known once they are loaded."""
    return [checkpoint for checkpoint in all_checkpoints(paths) if checkpoint.complete.is_file()]


def choose_checkpoint(paths: RunPaths, which: str) -> CheckpointPaths | None:
    """The complete checkpoint that `which` stands for: `latest`, `best` or a step.

    None: the latest is asked for, and there is none, or its record cannot be read.

    Raises:
        NoSuchCheckpointError: the best, or a step, is asked for, and there is none.
    """
    finish_saving(paths)
    latest = max(complete_checkpoints(paths), key=age_of, default=None)
    record = None if latest is None else _record_of(latest)
    if which == "latest":
        return latest if record else None
    return best_checkpoint(paths, record) if which == "best" else checkpoint_at(paths, step_named(which))


def newest_readable(paths: RunPaths) -> CheckpointPaths | None:
    """The newest complete checkpoint whose record can be read: damaged ones are skipped."""
    finish_saving(paths)
    readable = (checkpoint for checkpoint in complete_checkpoints(paths) if _record_of(checkpoint))
    return max(readable, key=age_of, default=None)


def finish_saving(paths: RunPaths) -> None:
    """Gives a checkpoint that a killed process saved the name that alone it may lack."""
    with contextlib.suppress(OSError):  # a read-only run has the checkpoints that it has
        finish_replacements(paths.checkpoints)


def best_checkpoint(paths: RunPaths, latest: TrainerRecord | None) -> CheckpointPaths:
    """The checkpoint that the record of the latest names as the best. Raises NoSuchCheckpointError."""
    if latest is None or latest.best is None:
        hint = "set data.holdout in the recipe: the test set must not choose one"
        with contextlib.suppress(LinftuiError):
            if read_recipe(paths).data.holdout:
                hint = "its held-out images have not been evaluated yet"
        raise NoSuchCheckpointError(f"{paths.id} has no best checkpoint", hint)
    return checkpoint_at(paths, latest.best.step)


def step_named(which: str) -> int:
    """The step that `which` names. Raises NoSuchCheckpointError where it is not a step."""
    if not _STEP.fullmatch(which):
        raise NoSuchCheckpointError(f"--checkpoint {which!r} is not latest, best or a step")
    return int(which)


def checkpoint_at(paths: RunPaths, step: int) -> CheckpointPaths:
    """The complete checkpoint at a step. Raises NoSuchCheckpointError where there is none."""
    known = {checkpoint.step: checkpoint for checkpoint in complete_checkpoints(paths)}
    if step not in known:
        raise NoSuchCheckpointError(
            f"{paths.id} has no complete checkpoint at step {step}",
            f"it has: {', '.join(map(str, known)) or 'none'}",
        )
    return known[step]


def age_of(checkpoint: CheckpointPaths, unknown: int = 0) -> tuple[int, int]:
    """Its attempt and its step. Later attempts count as newer: a run may be resumed from an earlier step.

    Where the record is damaged, the attempt counts as `unknown`.
    """
    record = _record_of(checkpoint)
    return (record.attempt if record else unknown, checkpoint.step)


def _record_of(checkpoint: CheckpointPaths) -> TrainerRecord | None:
    """Its record; None where that is damaged."""
    with contextlib.suppress(LinftuiError):
        return read_record(checkpoint.trainer, TrainerRecord)
    return None
