"""Checkpoints: everything needed to resume, in files that hold data only, complete or not there at all.

A checkpoint is a folder of two safetensors files (no pickle, so that a stranger's can be opened) and
trainer.json with their hashes. It is written under a temporary name, COMPLETE last, then renamed.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec import structs
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from linftui.errors import CheckpointError, LinftuiError, RunDirectoryError
from linftui.files import create_file, open_regular
from linftui.rundir.checkpoints import (
    age_of,
    all_checkpoints,
    best_checkpoint,
    checkpoint_at,
    complete_checkpoints,
    finish_saving,
    step_named,
)
from linftui.rundir.folders import replace_folder
from linftui.rundir.holding import HeldCheckpoint, certified_checkpoints, free_to_remove
from linftui.rundir.paths import CheckpointPaths, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import TrainerRecord
from linftui.rundir.writer import cannot_write, fsync_directory, write_record

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class LoadedCheckpoint:
    """An intact checkpoint: its record, the model's tensors, the optimizer's.

    No training prunes it while this object lives.
    """

    paths: CheckpointPaths
    record: TrainerRecord
    model: Tensors
    optimizer: Tensors
    hold: HeldCheckpoint


def restore_model(model: nn.Module, checkpoint: LoadedCheckpoint) -> None:
    """Puts the checkpoint's tensors into the model. Raises CheckpointError where they do not fit."""
    wanted = {name: (tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()}
    if {name: (tensor.shape, tensor.dtype) for name, tensor in checkpoint.model.items()} != wanted:
        raise CheckpointError(
            f"checkpoint {checkpoint.paths.root.name} holds another network than the recipe describes"
        )
    model.load_state_dict(checkpoint.model)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[Tensor, str]) -> Tensors:
    """The optimizer's state by parameter name, such as "last.weight/exp_avg"."""
    return {
        f"{names[parameter]}/{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: dict[Tensor, str], tensors: Tensors, step: int
) -> None:
    """Restores what `optimizer_tensors` returned. Learning rates come from the schedule and are not stored.

    Every parameter has a gradient at every step, hence all of Adam's entries from the first step on, and
    none before.

    Raises:
        CheckpointError: an entry is missing, or belongs to no parameter.
    """
    wanted = {
        f"{name}/{entry}": (parameter, entry, torch.Size() if entry == "step" else parameter.shape)
        for parameter, name in names.items()
        for entry in ("step", "exp_avg", "exp_avg_sq")
        if step > 0
    }
    if missing := [key for key in wanted if key not in tensors]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CheckpointError(f"the checkpoint's optimizer lacks {', '.join(missing[:3])}{more}")
    for key, value in tensors.items():
        parameter, entry, shape = wanted.get(key, (None, "", None))
        if parameter is None or (value.shape, value.dtype) != (shape, parameter.dtype):
            raise CheckpointError(f"the checkpoint's optimizer holds {key}, which fits no parameter")
        # Adam keeps its step count on the CPU, its moments beside the parameter.
        optimizer.state[parameter][entry] = value.to("cpu" if entry == "step" else parameter.device)


def save_checkpoint(
    paths: RunPaths,
    record: TrainerRecord,
    model: Tensors,
    optimizer: Tensors,
    check_owner: Callable[[], None] = lambda: None,
) -> TrainerRecord:
    """Writes a complete checkpoint at `record.step`, replacing an older one of that step.

    `check_owner` is called again before the new files take their place, since writing them takes a while.

    Returns:
        The record with the hashes of the files.

    Raises:
        RunDirectoryError: the disk is full or cannot be written; older checkpoints are untouched.
    """
    target = paths.checkpoint(record.step)
    draft = CheckpointPaths(target.root.with_name(f".{target.root.name}.{record.attempt}.tmp"))
    try:
        _remove(draft)
        paths.checkpoints.mkdir(exist_ok=True)  # but not the run's folder, if that was moved away
        draft.root.mkdir()
        for path, tensors in ((draft.model, model), (draft.optimizer, optimizer)):
            save_tensors(path, tensors)
        hashes = {path.name: sha256_of(path) for path in (draft.model, draft.optimizer)}
        record = structs.replace(record, sha256=hashes)
        write_record(draft.trainer, record)
        draft.complete.touch()
        fsync_directory(draft.root)
        check_owner()
        replace_folder(draft.root, target.root)
    except (OSError, SafetensorError, RunDirectoryError) as error:
        shutil.rmtree(draft.root, ignore_errors=True)
        if isinstance(error, RunDirectoryError):
            raise
        cause = error if isinstance(error, OSError) else OSError(str(error))
        raise cannot_write(target.root, cause) from error
    return record


def amend_checkpoint(paths: RunPaths, record: TrainerRecord, saved: TrainerRecord) -> TrainerRecord:
    """Replaces the record of the checkpoint `saved`, whose tensors are still right, with a newer one."""
    record = structs.replace(record, sha256=saved.sha256)
    write_record(paths.checkpoint(saved.step).trainer, record)
    return record


def disk_shortage(paths: RunPaths) -> str:
    """A warning where the disk has little room for another checkpoint, else an empty string."""
    newest = max(complete_checkpoints(paths), key=age_of)
    size = sum(file.stat().st_size for file in newest.root.iterdir())
    free = shutil.disk_usage(paths.root).free
    if free >= 3 * size:
        return ""
    return f"only {free >> 20:,} MiB are free and a checkpoint takes {size >> 20:,} MiB: free some space"


def load_checkpoint(
    checkpoint: CheckpointPaths, device: torch.device, network: nn.Module | None = None
) -> LoadedCheckpoint:
    """Reads a checkpoint and verifies its hashes.

    Args:
        checkpoint: its folder.
        device: where its tensors go.
        network: the network it is for; a file that is too large for it is not read.

    Raises:
        CheckpointError: it is incomplete or damaged.
    """
    name = checkpoint.root.name
    hold = HeldCheckpoint(checkpoint)
    if not checkpoint.complete.is_file():
        raise CheckpointError(f"checkpoint {name} is incomplete: it was not fully written")
    try:
        record = read_record(checkpoint.trainer, TrainerRecord)
        if record is None:
            raise CheckpointError(f"checkpoint {name} is damaged: trainer.json is missing")
        if record.step != checkpoint.step:
            raise CheckpointError(f"checkpoint {name} is damaged: its record is of step {record.step}")
        largest = None if network is None else _largest_file(network)
        model, optimizer = (
            _read_tensors(path, record.sha256.get(path.name), device, largest)
            for path in (checkpoint.model, checkpoint.optimizer)
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {name} is damaged: {error}") from error
    return LoadedCheckpoint(checkpoint, record, model, optimizer, hold)


def _read_tensors(path: Path, sha256: str | None, device: torch.device, largest: int | None) -> Tensors:
    """The tensors of a file whose size and hash are right.

    Raises:
        OSError, ValueError, SafetensorError: it cannot be read, or is not the file that was saved.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if largest is not None and size > largest:
            raise ValueError(f"{path.name} has {size:,} bytes, too many for the recipe's network")
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueError(f"{path.name} has another SHA-256")
        # By its descriptor: the library takes only UTF-8 names, and this is exactly what was just hashed.
        return load_file(f"/proc/self/fd/{file.fileno()}", device=str(device))


def _largest_file(network: nn.Module) -> int:
    """More bytes than either file of a checkpoint can have.

    Adam keeps two tensors for each parameter; the rest is for names and shapes.
    """
    return sum(4 * (tensor.nbytes + 1024) for tensor in network.state_dict().values())


def load_latest(
    paths: RunPaths, device: torch.device, network: nn.Module | None = None
) -> tuple[LoadedCheckpoint | None, list[str]]:
    """The newest intact checkpoint, or None where there is none, and a sentence for each one skipped.

    Arguments as for `load_checkpoint`.
    """
    problems: list[str] = []
    finish_saving(paths)
    found = all_checkpoints(paths)
    # One whose record is damaged is tried in order of its step, so that it is reported.
    attempt = max((age_of(checkpoint)[0] for checkpoint in found), default=0)
    for checkpoint in sorted(found, key=lambda checkpoint: age_of(checkpoint, attempt), reverse=True):
        try:
            loaded = load_checkpoint(checkpoint, device, network)
        except LinftuiError as error:
            problems.append(error.message)
        else:
            return loaded, [f"{problem}; the one before it is used" for problem in problems]
    return None, problems


def find_checkpoint(
    paths: RunPaths, which: str, device: torch.device, network: nn.Module | None = None
) -> tuple[LoadedCheckpoint, list[str]]:
    """The checkpoint named "latest", "best" or by its step, and warnings about damaged ones.

    Other arguments as for `load_checkpoint`.

    Raises:
        CheckpointError: there is no such checkpoint, or the one named is damaged.
    """
    if which == "latest":
        found, skipped = load_latest(paths, device, network)
        if found is None:
            reason = skipped[0] if skipped else "no checkpoint was saved"
            raise CheckpointError(f"{paths.id} has no checkpoint to load: {reason}")
        return found, skipped
    finish_saving(paths)
    if which == "best":
        latest, skipped = load_latest(paths, device, network)
        checkpoint = best_checkpoint(paths, None if latest is None else latest.record)
    else:
        checkpoint, skipped = checkpoint_at(paths, step_named(which)), []
    return load_checkpoint(checkpoint, device, network), skipped


def prune_checkpoints(paths: RunPaths, keep: int, best: int | None) -> None:
    """Removes all but the newest `keep`, the best, and those that have a certificate or are being certified.

    Half-written ones go too.
    """
    newest_first = sorted(complete_checkpoints(paths), key=age_of, reverse=True)
    certified = certified_checkpoints(paths)
    kept = {
        checkpoint.root
        for number, checkpoint in enumerate(newest_first)
        if number < keep or checkpoint.root in certified
    }
    if best is not None:
        kept.add(paths.checkpoint(best).root)
    drafts = [CheckpointPaths(path) for path in paths.checkpoints.glob(".step-*.tmp")]
    for checkpoint in [*all_checkpoints(paths), *drafts]:
        folder = checkpoint.root
        if folder not in kept and folder.is_dir() and not folder.is_symlink():
            with free_to_remove(checkpoint) as free:
                if free:
                    _remove(checkpoint)


def _remove(checkpoint: CheckpointPaths) -> None:
    """Removes COMPLETE first, so that a kill half way leaves nothing that looks whole.

    Where a link is in the checkpoint's place, only the link is removed: its target is not ours.
    """
    if checkpoint.root.is_symlink():
        checkpoint.root.unlink()
        return
    checkpoint.complete.unlink(missing_ok=True)
    shutil.rmtree(checkpoint.root, ignore_errors=True)


def save_tensors(path: Path, tensors: Tensors) -> None:
    """Writes a new safetensors file, durably, with the permissions of the run's other files.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    descriptor = create_file(path)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(mode)  # the library replaces the file with one that only its owner can read
    _fsync(path)


def sha256_of(path: Path) -> str:
    """The SHA-256 (hex) of a file's content."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
