"""The training loop, and what it writes to the run directory.

A step takes the schedules' values at this moment, and a batch that depends only on (seed, epoch, step,
sample). Everything else here is bookkeeping at step boundaries: a record now and then, an evaluation and a
checkpoint after an epoch, and a check whether to stop.
"""

import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from linftui.build import build_net
from linftui.checkpoint import (
    LoadedCheckpoint,
    amend_checkpoint,
    disk_shortage,
    optimizer_tensors,
    prune_checkpoints,
    restore_model,
    restore_optimizer,
    save_checkpoint,
)
from linftui.data.images import Dataset, ImageSet, images_for_means
from linftui.data.loader import augment, batch_indices, batches_per_epoch, epoch_order
from linftui.errors import CheckpointError, TrainingError
from linftui.nn.boxes import to_pixels
from linftui.ops.backends import kernels_at
from linftui.recipe.load import LoadedRecipe
from linftui.recipe.schedule import Moment, Schedules
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import (
    BestRecord,
    EvalRecord,
    EventName,
    EventRecord,
    Means,
    Metric,
    TrainerRecord,
    TrainRecord,
)
from linftui.rundir.writer import RunWriter
from linftui.train.distributed import any_rank, is_first, meet, own_part
from linftui.train.evaluate import evaluate
from linftui.train.objectives import Batch, Objective
from linftui.train.step import Step
from linftui.train.window import Window

Outcome = Literal["finished", "stopped"]


class Trainer:
    """One rank of one attempt at a run: built, perhaps restored from a checkpoint, then `fit`.

    All ranks hold the same network and the same figures at every step boundary; rank 0 records them.

    Args:
        resolved: the run's resolved recipe.
        dataset: on the device to train on.
        paths: the run directory.
        attempt: this attempt's number; the writer refuses to write once it is not the current one.
        should_stop: whether this rank was asked to stop; called at step boundaries and inside evaluations.
        nonce: unique to the attempt, as in state.json.
    """

    def __init__(
        self,
        resolved: LoadedRecipe,
        dataset: Dataset,
        paths: RunPaths,
        attempt: int,
        should_stop: Callable[[], bool],
        nonce: str = "",
    ) -> None:
        self.recipe, self.dataset, self.paths, self.attempt = resolved.recipe, dataset, paths, attempt
        self.recipe_hash, recipe = resolved.hash, resolved.recipe
        self.should_stop = lambda: any_rank(should_stop())
        self.device = dataset.train.images.device
        self.writer = RunWriter(paths, attempt, nonce) if is_first() else None

        self.net = build_net(recipe, dataset, self.device)
        self.objective: Objective = recipe.objective.build(float(recipe.eps.test)).to(self.device)
        self.take_step = Step(self.net, self.objective, recipe.optimizer)
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in self.net.named_parameters()}
        self.learned = {f"objective.{name}": value for name, value in self.objective.named_parameters()}
        self.names |= {parameter: name for name, parameter in self.learned.items()}

        self.schedules = Schedules.of(recipe)
        self.steps_per_epoch = batches_per_epoch(len(dataset.train.labels), recipe.batch_size)
        self.total_steps = self.steps_per_epoch * recipe.epochs

        self.step = 0
        self.evaluated = True  # whether the evaluation that is due at this step was done
        self.saved: TrainerRecord | None = None
        self.best: BestRecord | None = None
        self.window = Window(self.device)
        self._recorded_at = time.monotonic()
        self._images_since_record = 0
        self._reported_shortage = False
        self._kernels = ""

    def resume_from(self, checkpoint: LoadedCheckpoint) -> None:
        """Goes back to exactly where the checkpoint was taken. Raises CheckpointError if it does not fit."""
        record = checkpoint.record
        if (record.seed, record.steps_per_epoch) != (self.recipe.seed, self.steps_per_epoch) or not (
            0 <= record.step <= self.total_steps
        ):
            raise CheckpointError(f"checkpoint {checkpoint.paths.root.name} belongs to another data set")
        restore_model(self.net, checkpoint)
        tensors = dict(checkpoint.optimizer)
        for name, own in self.learned.items():
            saved = tensors.pop(name, None)
            if saved is None or (saved.shape, saved.dtype) != (own.shape, own.dtype):
                raise CheckpointError(
                    f"checkpoint {checkpoint.paths.root.name} holds no {name.replace('.', ' ')} that fits"
                )
            with torch.no_grad():
                own.copy_(saved)
        restore_optimizer(self.take_step.optimizer, self.names, tensors, record.step)
        self.step, self.evaluated, self.best = record.step, record.evaluated, record.best
        if self.best is not None and not self.paths.checkpoint(self.best.step).complete.exists():
            self.best = None  # an attempt that continued from a later checkpoint has removed it
        self.saved = record
        self.window.restore(record.window)

    def fit(self) -> Outcome:
        """Trains to the end, or until asked to stop; either way the last step is in a checkpoint.

        Raises:
            TrainingError: the loss is no longer finite.
            LinftuiError: the run directory cannot be written, or belongs to a newer attempt.
        """
        self.event(
            "resumed" if self.attempt > 1 else "started", f"attempt {self.attempt} at step {self.step:,}"
        )
        meet()  # every rank has read the checkpoints before one is written or removed
        outcome = self._train()
        meet()  # no rank leaves before the last checkpoint is written
        return outcome

    def _train(self) -> Outcome:
        self._recorded_at = time.monotonic()
        order, order_epoch = None, -1
        while True:
            if not self.evaluated:
                self._evaluate()
            self._save_if_due()
            if self.evaluated and self.step == self.total_steps:
                self.event("finished", f"{self.step:,} steps")
                return "finished"
            if self.writer is not None:
                self.writer.check_owner()
            if self.should_stop():
                self.event("stop-seen", "saving a checkpoint")
                self._save()
                self.event("stopped", f"saved at step {self.step:,}")
                return "stopped"
            epoch, batch = divmod(self.step, self.steps_per_epoch)
            if order is None or order_epoch != epoch:
                order = epoch_order(self.recipe.seed, epoch, len(self.dataset.train.labels)).to(self.device)
                order_epoch = epoch
                self._choose_kernels()
            self._train_step(epoch, batch_indices(order, batch, self.recipe.batch_size))

    def _choose_kernels(self) -> None:
        """Chooses for the coming epoch, by what the kernels met in the last; a change is an event."""
        p = self.schedules.at(self.epoch).p
        kernels = kernels_at(p, self.device)
        if kernels != self._kernels:
            self.event("kernels", f"p {p:.4g}: {kernels}")
            self._kernels = kernels

    def _train_step(self, epoch: int, batch: Tensor) -> None:
        recipe, train, index = self.recipe, self.dataset.train, own_part(batch)
        moment = self.schedules.at(self.epoch)
        images = augment(
            train.images[index],
            train.indices[index],
            seed=recipe.seed,
            epoch=epoch,
            crop_padding=recipe.data.augment.crop_padding,
            flip=recipe.data.augment.flip,
        )
        pixels = to_pixels(images, self.dataset.levels)
        figures = self.take_step(Batch(pixels, train.labels[index], len(batch)), moment)
        self.window.add(figures, len(batch))
        self._images_since_record += len(batch)
        self.step += 1
        self.evaluated = not self._is_due(recipe.evaluation.every_epochs)
        if self.step % recipe.log.every_steps == 0 or self.step == self.total_steps:
            self._record(moment)

    def _is_due(self, every_epochs: int) -> bool:
        """Whether something that is done every `every_epochs` epochs, and at the end, is due at this step."""
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        return batch == 0 and (epoch % every_epochs == 0 or self.step == self.total_steps)

    def _record(self, moment: Moment) -> None:
        self._require_finite()
        now, figures = time.monotonic(), self.window.means() | self.objective.learned()
        common: dict[str, Any] = {
            field: figures.pop(name) for name, field in TrainRecord.FIELDS.items() if name in figures
        }
        self._metric(
            TrainRecord(
                attempt=self.attempt,
                step=self.step,
                epoch=self.epoch,
                time=time.time(),
                p=moment.p,
                eps=moment.eps,
                lam=moment.lam,
                lr=moment.lr,
                images_per_s=self._images_since_record / max(now - self._recorded_at, 1e-9),
                figures=figures,
                **common,
            )
        )
        self.window.clear()
        self._recorded_at, self._images_since_record = now, 0

    @property
    def epoch(self) -> float:
        """Progress in epochs."""
        return self.step / self.steps_per_epoch

    def _require_finite(self) -> None:
        broken = next((name for p, name in self.names.items() if not p.isfinite().all()), None)
        if broken is None and self.window.is_finite():
            return
        where = f"{broken} holds a NaN or an infinity" if broken else "all weights are finite"
        raise TrainingError(
            f"the loss is no longer finite, noticed at step {self.step:,} (epoch {self.epoch:.2f}, "
            f"p {self.schedules.at(self.epoch).p:.4g}): {where}",
            "try a smaller optimizer.lr; checkpoints that were saved before are intact",
        )

    def _evaluate(self) -> None:
        """Makes all evaluations that are due; `evaluated` stays false where it was asked to stop half way."""
        started = time.monotonic()
        self.evaluated = self._evaluate_split("test", self.dataset.test, "running")
        if self.evaluated and self.recipe.evaluation.reestimate_means:
            self.evaluated = self._evaluate_split("test", self.dataset.test, "re-estimated")
        if self.evaluated and self.dataset.holdout is not None:
            self.evaluated = self._evaluate_split("holdout", self.dataset.holdout, "running")
        self._recorded_at += time.monotonic() - started  # throughput counts training alone

    def _evaluate_split(
        self,
        split: Literal["test", "holdout"],
        images: ImageSet,
        means: Means,
    ) -> bool:
        started, recipe, net = time.monotonic(), self.recipe, self.net
        if means == "re-estimated":
            net = net.with_reestimated_means(images_for_means(self.dataset.train), self.dataset.levels)
        result = evaluate(
            net,
            images,
            recipe.eps.test,
            self.dataset.levels,
            recipe.evaluation.batch_size,
            self.should_stop,
        )
        if result is None:
            return False
        self._metric(
            EvalRecord(
                attempt=self.attempt,
                step=self.step,
                epoch=self.epoch,
                time=time.time(),
                split=split,
                n=result.n,
                clean_accuracy=result.clean_accuracy,
                certified_accuracy=result.certified_accuracy,
                eps=float(recipe.eps.test),
                means=means,
                seconds=time.monotonic() - started,
            )
        )
        if split == "holdout" and (
            self.best is None or result.certified_accuracy > self.best.certified_accuracy
        ):
            self.best = BestRecord(step=self.step, certified_accuracy=result.certified_accuracy)
        return True

    def _save_if_due(self) -> None:
        improved = self.best is not None and self.best.step == self.step
        if self.step and (improved or self._is_due(self.recipe.checkpoint.every_epochs)):
            self._save()

    def _save(self) -> None:
        if self.writer is None:
            return
        self.writer.check_owner()
        self.writer.sync()  # a crash of the machine must not lose records that the checkpoint builds on
        record = self._position()
        if self.saved is not None and self.saved.step == self.step:
            if self.saved.evaluated != self.evaluated:
                self.saved = amend_checkpoint(self.paths, record, self.saved)
            return  # the saved tensors are already those of this step
        self._require_finite()
        optimizer = optimizer_tensors(self.take_step.optimizer, self.names)
        optimizer |= {name: value.detach() for name, value in self.learned.items()}
        self.saved = save_checkpoint(
            self.paths, record, self.net.state_dict(), optimizer, self.writer.check_owner
        )
        self.event("checkpoint", f"step {self.step:,}")
        self.writer.check_owner()
        prune_checkpoints(self.paths, self.recipe.checkpoint.keep, self.best.step if self.best else None)
        if not self._reported_shortage and (shortage := disk_shortage(self.paths)):
            self.event("warning", shortage)
            self._reported_shortage = True

    def _position(self) -> TrainerRecord:
        return TrainerRecord(
            attempt=self.attempt,
            step=self.step,
            epoch=self.epoch,
            seed=self.recipe.seed,
            steps_per_epoch=self.steps_per_epoch,
            recipe_hash=self.recipe_hash,
            window=self.window.record(),
            best=self.best,
            evaluated=self.evaluated,
            sha256={},
            time=time.time(),
        )

    def event(self, event: EventName, message: str = "") -> None:
        """Records an event at this step."""
        if self.writer is not None:
            self.writer.event(
                EventRecord(
                    attempt=self.attempt, step=self.step, time=time.time(), event=event, message=message
                )
            )

    def _metric(self, record: Metric) -> None:
        if self.writer is not None:
            self.writer.metric(record)
