"""The process that trains or certifies: `python -m linftui.worker train|certify RUN ...`.

It is started by `linftui.launch`, never by hand. It reads the run directory, leaves everything in it, and
prints nothing but its log. A failure is told in an error file, its traceback in the log.
"""

import argparse
import contextlib
import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from msgspec import structs

from linftui.certify.certifier import StoppedEarly, certify, load_subject
from linftui.errors import CheckpointError, DeviceError, LinftuiError, TrainingError
from linftui.ops import backend_name
from linftui.recipe.load import recipe_hash
from linftui.recipe.schema import parse_fraction
from linftui.rundir.paths import CertifyLogPaths, RunPaths
from linftui.rundir.records import CertifyTask, ErrorRecord
from linftui.rundir.store import read_meta, read_recipe
from linftui.rundir.writer import write_record
from linftui.train.build import build_dataset
from linftui.train.checkpoint import find_checkpoint, load_latest
from linftui.train.trainer import Trainer


class StopFlag:
    """Whether it is time to stop: a request in the run directory, a signal, or the starter's death."""

    def __init__(self, supervisor_fd: int, request: Path | None) -> None:
        self._fd, self._request, self._set = supervisor_fd, request, False
        os.set_blocking(supervisor_fd, False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self._set = True

    def __call__(self) -> bool:
        self._set = self._set or (self._request is not None and self._request.exists()) or self._orphaned()
        return self._set

    def _orphaned(self) -> bool:
        try:
            return os.read(self._fd, 1) == b""
        except BlockingIOError:
            return False


def train(options: argparse.Namespace) -> None:
    """Trains, from the beginning or from a checkpoint."""
    paths, device = RunPaths(options.run), torch.device(options.device)
    should_stop = StopFlag(options.supervisor_fd, paths.stop_request(options.attempt))
    recipe = read_recipe(paths)
    write_record(paths.meta, structs.replace(read_meta(paths), kernel_backend=backend_name()))
    dataset = build_dataset(recipe, device)
    trainer = Trainer(recipe, dataset, paths, options.attempt, should_stop)
    if options.checkpoint is None:
        checkpoint, skipped = load_latest(paths, device)
    else:
        checkpoint, skipped = find_checkpoint(paths, options.checkpoint, device)
    if checkpoint is None and skipped:
        raise CheckpointError(
            f"{paths.id} has no intact checkpoint to go on from: {skipped[0]}",
            "start it anew with linftui run",
        )
    if checkpoint is not None:
        if checkpoint.record.recipe_hash != recipe_hash(recipe):
            raise CheckpointError(f"checkpoint {checkpoint.paths.root.name} belongs to another recipe")
        trainer.resume_from(checkpoint)
    for warning in skipped:
        trainer.event("warning", warning)
    try:
        outcome = trainer.fit()
    except TrainingError as error:
        trainer.event("failed", str(error))
        raise
    print(f"{outcome} at step {trainer.step:,}")


def certify_run(options: argparse.Namespace) -> None:
    """Certifies one checkpoint at each radius asked for."""
    paths, device = RunPaths(options.run), torch.device(options.device)
    should_stop = StopFlag(options.supervisor_fd, None)
    radii = [parse_fraction(text) for text in options.eps.split(",")]
    subject, warnings = load_subject(paths, options.checkpoint, options.means, options.limit, device)
    for warning in warnings:
        print(f"warning: {warning}")
    task_file = CertifyLogPaths(options.logs).task
    task = CertifyTask(
        certificates=[subject.certificate(eps).root.name for eps in radii],
        drafts=[subject.draft(eps).root.name for eps in radii],
        done=0,
        warnings=warnings,
    )
    write_record(task_file, task)
    for done, eps in enumerate(radii, start=1):
        summary = certify(subject, eps, should_stop)
        write_record(task_file, structs.replace(task, done=done))
        print(f"eps {summary.eps_exact}: certified {summary.certified_accuracy:.4f} of {summary.n:,}")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line that `linftui.launch` writes."""
    parser = argparse.ArgumentParser(prog="python -m linftui.worker", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, action in (("train", train), ("certify", certify_run)):
        command = commands.add_parser(name)
        command.set_defaults(action=action, logs=None, attempt=None)
        command.add_argument("run", type=Path)
        command.add_argument("--device", required=True)
        command.add_argument("--threads", type=int, required=True)
        command.add_argument("--supervisor-fd", type=int, required=True)
        if name == "train":
            command.add_argument("--attempt", type=int, required=True)
            command.add_argument("--checkpoint")
        else:
            command.add_argument("--logs", type=Path, required=True)
            command.add_argument("--checkpoint", required=True)
            command.add_argument("--means", required=True)
            command.add_argument("--eps", required=True)
            command.add_argument("--limit", type=int)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Runs one task and returns the exit code; 0 also where it was asked to stop and did."""
    faulthandler.enable()
    options = parse_arguments(arguments)
    error_file = (
        RunPaths(options.run).error(options.attempt, 0)
        if options.logs is None
        else CertifyLogPaths(options.logs).error
    )
    torch.set_num_threads(options.threads)
    action: Callable[[argparse.Namespace], None] = options.action
    try:
        if options.device != "cpu" and not torch.cuda.is_available():
            raise DeviceError("there is a GPU, but this torch cannot use it", "choose --devices cpu")
        action(options)
    except StoppedEarly as stopped:
        print(stopped)
    except Exception as error:
        traceback.print_exc()
        told = error if isinstance(error, LinftuiError) else _unforeseen(error)
        record = ErrorRecord(
            error=type(error).__name__,
            message=told.message,
            hint=told.hint,
            exit_code=told.exit_code,
            time=time.time(),
        )
        with contextlib.suppress(LinftuiError):  # the disk is full, say; the log has the traceback
            write_record(error_file, record)
        return told.exit_code
    return 0


def _unforeseen(error: Exception) -> LinftuiError:
    if isinstance(error, torch.OutOfMemoryError):
        return LinftuiError("the GPU is out of memory", "use a smaller batch_size or model.width")
    return LinftuiError(
        f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
        "the traceback is in the log",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
