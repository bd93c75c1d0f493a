"""The training loop, and what it leaves in the run directory.

A step is: schedules at this moment, a batch that depends on (seed, epoch, step, sample) only, a forward at
the current p, the objective, Adam. Everything else here is bookkeeping at step boundaries: a record now and
then, an evaluation and a checkpoint after an epoch, and a look at whether somebody wants it to stop.
"""

import math
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from linftui.data.datasets import Dataset, ImageSet
from linftui.data.loader import augment, batch_indices, batches_per_epoch, epoch_order
from linftui.errors import CheckpointError, TrainingError
from linftui.nn.models import to_pixels
from linftui.nn.ranks import world_size
from linftui.ops.backends import kernels_at
from linftui.recipe.load import LoadedRecipe
from linftui.recipe.schedule import PSchedule, cosine_lr
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import (
    BestRecord,
    EvalRecord,
    EventName,
    EventRecord,
    Metric,
    TrainerRecord,
    TrainRecord,
    WindowSums,
)
from linftui.rundir.writer import RunWriter
from linftui.train.build import build_model
from linftui.train.checkpoint import (
    LoadedCheckpoint,
    amend_checkpoint,
    disk_shortage,
    optimizer_tensors,
    prune_checkpoints,
    restore_model,
    restore_optimizer,
    save_checkpoint,
)
from linftui.train.distributed import any_rank, in_parallel, is_first, meet, own_part, summed
from linftui.train.evaluate import evaluate, images_for_means
from linftui.train.objective import LossNet, MixtureLoss, batch_figures

Outcome = Literal["finished", "stopped"]


class Trainer:
    """One rank of one attempt at a run: built, perhaps put back to a checkpoint, then `fit`.

    All ranks hold the same network and the same figures at every step boundary; rank 0 writes them down.

    Args:
        resolved: what to do, as the run keeps it.
        dataset: on the device to train on.
        paths: the run directory.
        attempt: this attempt's number; the writer refuses once it is not the current one.
        should_stop: whether this rank was asked to stop; asked at every step boundary and inside evaluations.
        nonce: the attempt's own, as in state.json.
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

        self.model = build_model(recipe, dataset, self.device)
        self.objective = MixtureLoss().to(self.device)
        self.forward = in_parallel(LossNet(self.model, self.objective))
        self.optimizer = torch.optim.Adam(
            [{"params": list(self.model.parameters())}, {"params": list(self.objective.parameters())}],
            betas=(recipe.optimizer.beta1, recipe.optimizer.beta2),
            eps=recipe.optimizer.adam_eps,
        )
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in self.model.named_parameters()}
        self.names[self.objective.scalar] = "objective.scalar"

        self.schedule = PSchedule.of(recipe)
        self.steps_per_epoch = batches_per_epoch(len(dataset.train.labels), recipe.batch_size)
        self.total_steps = self.steps_per_epoch * recipe.epochs
        # Margins are measured behind the normalisation, hence eps in its units.
        self.eps_train = float(recipe.eps.train) / dataset.std
        self.eps_test = float(recipe.eps.test) / dataset.std

        self.step = 0
        self.evaluated = True  # the evaluation that is due at this step was done
        self.saved: TrainerRecord | None = None
        self.best: BestRecord | None = None
        self.window = torch.zeros(4, dtype=torch.float64, device=self.device)
        self.window_images = 0
        self._recorded_at = time.monotonic()
        self._images_since_record = 0
        self._told_shortage = False
        self._kernels = ""

    def resume_from(self, checkpoint: LoadedCheckpoint) -> None:
        """Goes back to just where the checkpoint was taken. Raises CheckpointError if it does not fit."""
        record = checkpoint.record
        if (record.seed, record.steps_per_epoch) != (self.recipe.seed, self.steps_per_epoch) or not (
            0 <= record.step <= self.total_steps
        ):
            raise CheckpointError(f"checkpoint {checkpoint.paths.root.name} belongs to another data set")
        restore_model(self.model, checkpoint)
        tensors = dict(checkpoint.optimizer)
        scalar = tensors.pop("objective.scalar", None)
        own = self.objective.scalar
        if scalar is None or (scalar.shape, scalar.dtype) != (own.shape, own.dtype):
            raise CheckpointError(f"checkpoint {checkpoint.paths.root.name} holds no scalar of the objective")
        with torch.no_grad():
            own.copy_(scalar)
        restore_optimizer(self.optimizer, self.names, tensors, record.step)
        self.step, self.evaluated, self.best = record.step, record.evaluated, record.best
        if self.best is not None and not self.paths.checkpoint(self.best.step).complete.exists():
            self.best = None  # an attempt that went on from a later checkpoint has removed it
        self.saved = record
        sums = record.window
        self.window_images = sums.images
        self.window.copy_(
            torch.tensor(
                [sums.loss, sums.correct, sums.certified, sums.certified_train_eps], dtype=torch.float64
            )
        )

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
        """For the epoch that begins, by what the kernels met in the last; a change is an event."""
        p = self.schedule.p(self.epoch)
        kernels = kernels_at(p, self.device)
        if kernels != self._kernels:
            self.event("kernels", f"p {p:.4g}: {kernels}")
            self._kernels = kernels

    def _train_step(self, epoch: int, batch: Tensor) -> None:
        n, index = len(batch), own_part(batch)
        recipe, t = self.recipe, self.step / self.steps_per_epoch
        p, lam = self.schedule.p(t), self.schedule.lam(t)
        lr = cosine_lr(recipe.optimizer.lr, t, recipe.epochs)
        weights, scalar = self.optimizer.param_groups
        weights["lr"], scalar["lr"] = lr, cosine_lr(recipe.optimizer.scalar_lr, t, recipe.epochs)

        train: ImageSet = self.dataset.train
        images = augment(
            train.images[index],
            train.indices[index],
            seed=recipe.seed,
            epoch=epoch,
            crop_padding=recipe.data.augment.crop_padding,
            flip=recipe.data.augment.flip,
        )
        labels, pixels = train.labels[index], to_pixels(images, self.dataset.levels)
        loss, logits = self.forward(pixels, labels, p, self.eps_train, lam, n)
        self.optimizer.zero_grad()
        (loss * world_size()).backward()  # the gradients are means over ranks, the loss is a sum
        self.optimizer.step()

        figures = batch_figures(logits, labels, self.eps_test, self.eps_train)
        self.window += summed(torch.stack([loss.detach().double() * n, *(f.double() for f in figures)]))
        self.window_images += n
        self._images_since_record += n
        self.step += 1
        self.evaluated = not self._is_due(recipe.evaluation.every_epochs)
        if self.step % recipe.log.every_steps == 0 or self.step == self.total_steps:
            self._record(p, lam, lr)

    def _is_due(self, every_epochs: int) -> bool:
        """Whether something done every so many epochs, and at the end, is due at this step."""
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        return batch == 0 and (epoch % every_epochs == 0 or self.step == self.total_steps)

    def _record(self, p: float, lam: float, lr: float) -> None:
        self._require_finite()
        now = time.monotonic()
        loss, correct, certified, certified_train_eps = (self.window / self.window_images).tolist()
        self._metric(
            TrainRecord(
                attempt=self.attempt,
                step=self.step,
                epoch=self.epoch,
                time=time.time(),
                loss=loss,
                accuracy=correct,
                certified_at_p=certified,
                certified_at_p_train_eps=certified_train_eps,
                p=p,
                lam=lam,
                eps=float(self.recipe.eps.train),
                lr=lr,
                scalar=self.objective.scalar.item(),
                images_per_s=self._images_since_record / max(now - self._recorded_at, 1e-9),
            )
        )
        self.window.zero_()
        self.window_images = 0
        self._recorded_at, self._images_since_record = now, 0

    @property
    def epoch(self) -> float:
        """Progress in epochs."""
        return self.step / self.steps_per_epoch

    def _require_finite(self) -> None:
        broken = next((name for p, name in self.names.items() if not p.isfinite().all()), None)
        if broken is None and math.isfinite(self.window[0].item()):
            return
        where = f"{broken} holds a NaN or an infinity" if broken else "all weights are finite"
        raise TrainingError(
            f"the loss is no longer finite, noticed at step {self.step:,} (epoch {self.epoch:.2f}, "
            f"p {self.schedule.p(self.epoch):.4g}): {where}",
            "try a smaller optimizer.lr; checkpoints that were saved before are intact",
        )

    def _evaluate(self) -> None:
        """Evaluates all that is due; leaves `evaluated` false where it was asked to stop half way."""
        started = time.monotonic()
        self.evaluated = self._evaluate_split("test", self.dataset.test, "running")
        if self.evaluated and self.recipe.evaluation.reestimate_means:
            self.evaluated = self._evaluate_split("test", self.dataset.test, "re-estimated")
        if self.evaluated and self.dataset.holdout is not None:
            self.evaluated = self._evaluate_split("holdout", self.dataset.holdout, "running")
        self._recorded_at += time.monotonic() - started  # the throughput is of training alone

    def _evaluate_split(
        self,
        split: Literal["test", "holdout"],
        images: ImageSet,
        means: Literal["running", "re-estimated"],
    ) -> bool:
        started, recipe, model = time.monotonic(), self.recipe, self.model
        if means == "re-estimated":
            model = model.with_reestimated_means(images_for_means(self.dataset.train), self.dataset.levels)
        result = evaluate(
            model,
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
        self.writer.sync()  # what the checkpoint builds on must not be lost if the machine goes down
        record = self._position()
        if self.saved is not None and self.saved.step == self.step:
            if self.saved.evaluated != self.evaluated:
                self.saved = amend_checkpoint(self.paths, record, self.saved)
            return  # the tensors are those of this step already
        self._require_finite()
        optimizer = optimizer_tensors(self.optimizer, self.names)
        optimizer["objective.scalar"] = self.objective.scalar.detach()
        self.saved = save_checkpoint(
            self.paths, record, self.model.state_dict(), optimizer, self.writer.check_owner
        )
        self.event("checkpoint", f"step {self.step:,}")
        self.writer.check_owner()
        prune_checkpoints(self.paths, self.recipe.checkpoint.keep, self.best.step if self.best else None)
        if not self._told_shortage and (shortage := disk_shortage(self.paths)):
            self.event("warning", shortage)
            self._told_shortage = True

    def _position(self) -> TrainerRecord:
        loss, correct, certified, certified_train_eps = self.window.tolist()
        return TrainerRecord(
            attempt=self.attempt,
            step=self.step,
            epoch=self.epoch,
            seed=self.recipe.seed,
            steps_per_epoch=self.steps_per_epoch,
            recipe_hash=self.recipe_hash,
            window=WindowSums(
                images=self.window_images,
                loss=loss,
                correct=correct,
                certified=certified,
                certified_train_eps=certified_train_eps,
            ),
            best=self.best,
            evaluated=self.evaluated,
            sha256={},
            time=time.time(),
        )

    def event(self, event: EventName, message: str = "") -> None:
        """Notes an event at this step."""
        if self.writer is not None:
            self.writer.event(
                EventRecord(
                    attempt=self.attempt, step=self.step, time=time.time(), event=event, message=message
                )
            )

    def _metric(self, record: Metric) -> None:
        if self.writer is not None:
            self.writer.metric(record)
