"""Training one rank of an attempt, from the beginning or from a checkpoint.

torch, and everything that uses it, is imported only once the work begins: that takes seconds, during which
the supervisor already knows this process.
"""

import os
import signal
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from linftui.errors import CheckpointError, TrainingError
from linftui.processes.detaching import redirect_output
from linftui.processes.life_pipe import SupervisorPipe
from linftui.processes.members import announce
from linftui.processes.reports import Reporter
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import StateRecord
from linftui.rundir.store import read_meta, read_resolved
from linftui.rundir.writer import write_record
from linftui.worker.program import WorkerProgram, log
from linftui.worker.stop_flag import StopFlag

if TYPE_CHECKING:
    from linftui.train.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class TrainProgram(WorkerProgram):
    """Trains as one rank of an attempt.

    `checkpoint` is the step to continue from; None: the newest one, or the beginning. `rendezvous` is the
    folder where several ranks meet; None: there is one rank.
    """

    attempt: int
    nonce: str
    checkpoint: str | None
    rendezvous: Path | None

    @classmethod
    def add_options(cls, parser: ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--attempt", type=int, required=True)
        parser.add_argument("--nonce", required=True)
        parser.add_argument("--checkpoint")
        parser.add_argument("--rendezvous", type=Path)

    @property
    def rank(self) -> int:
        return 0 if self.rendezvous is None else int(os.environ["RANK"])

    @property
    def error_file(self) -> Path:
        return RunPaths(self.run).error(self.attempt, self.rank)

    @property
    def may_wait_forever(self) -> bool:
        return self.rendezvous is not None  # for other ranks, which are gone

    @property
    def with_less_memory(self) -> str:
        return "use a smaller batch_size, model.width or model.depth"

    def announce(self) -> None:
        """Announces one of several ranks, which also gets its own log: torchrun would mix them."""
        if self.rendezvous is None:
            return
        # When a rank dies, torchrun terminates the others; they stay until it is clear which one failed.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        paths = RunPaths(self.run)
        redirect_output(paths.rank_log(self.attempt, self.rank))
        announce(paths.member(self.attempt, self.rank), f"rank-{self.rank}", paths.root)

    def work(self, pipe: SupervisorPipe | None, reporter: Reporter) -> None:
        from linftui.train.distributed import process_group

        with process_group(self.rendezvous, self.device) as device:
            should_stop = StopFlag(pipe, RunPaths(self.run).stop_request(self.attempt), reporter)
            self._train(str(device), should_stop)

    def _train(self, device_name: str, should_stop: StopFlag) -> None:
        import torch

        from linftui.build import build_dataset
        from linftui.ops import backend_name
        from linftui.train.distributed import is_first
        from linftui.train.trainer import Trainer

        paths, device = RunPaths(self.run), torch.device(device_name)
        resolved = read_resolved(paths)
        dataset = build_dataset(resolved.recipe, device)
        trainer = Trainer(resolved, dataset, paths, self.attempt, should_stop, self.nonce)
        if is_first():  # the trainer has checked that this attempt owns the run
            _record_machine(paths, self.nonce, backend_name(device))
        for warning in _restore(trainer, self.checkpoint):
            trainer.event("warning", warning)
        try:
            outcome = trainer.fit()
        except TrainingError as error:
            trainer.event("failed", str(error))
            raise
        log(f"{outcome} at step {trainer.step:,}")


def _restore(trainer: "Trainer", wanted: str | None) -> list[str]:
    """Restores the trainer from the requested checkpoint, or from the newest one if there is any.

    A separate function, so that the checkpoint's tensors are freed before the training begins.

    Returns:
        A sentence for each damaged checkpoint that was skipped.
    """
    from linftui.checkpoint import find_checkpoint, load_latest

    paths, device, network = trainer.paths, trainer.device, trainer.net
    if wanted is None:
        checkpoint, skipped = load_latest(paths, device, network)
    else:
        checkpoint, skipped = find_checkpoint(paths, wanted, device, network)
    if checkpoint is None and skipped:
        raise CheckpointError(
            f"{paths.id} has no intact checkpoint to go on from: {skipped[0]}",
            "start another run of its recipe",
        )
    if checkpoint is not None:
        if checkpoint.record.recipe_hash != trainer.recipe_hash:
            raise CheckpointError(f"checkpoint {checkpoint.paths.root.name} belongs to another recipe")
        trainer.resume_from(checkpoint)
    return skipped


def _record_machine(paths: RunPaths, nonce: str, kernel_backend: str) -> None:
    """Writes to meta.json what computes from now on: state.json may be lost, and the machine decides bits."""
    meta = structs.replace(read_meta(paths), kernel_backend=kernel_backend)
    state = read_record(paths.state, StateRecord)
    if state is not None and state.nonce == nonce:
        meta = structs.replace(meta, devices=state.devices, threads=state.threads)
    write_record(paths.meta, meta)
