"""The training loop on a slice of real digits: what it records, and that an interruption leaves no trace.

Three epochs of four steps, the last of each epoch with 4 images, at p from 8 to infinity.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from linftui.build import build_net
from linftui.checkpoint import find_checkpoint, load_latest, restore_model
from linftui.data.datasets import load_dataset
from linftui.data.images import Dataset, images_for_means
from linftui.data.loader import augment, batch_indices, epoch_order
from linftui.errors import CheckpointError, StaleAttemptError, TrainingError
from linftui.nn import Moment
from linftui.nn.boxes import to_pixels
from linftui.recipe.load import parse_recipe, resolved
from linftui.recipe.schema import Recipe
from linftui.rundir.checkpoints import complete_checkpoints
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, latest_by_step, read_all
from linftui.rundir.records import EvalRecord, StateRecord, TrainerRecord, TrainRecord
from linftui.rundir.writer import RunWriter, write_record
from linftui.train import trainer as trainer_module
from linftui.train.evaluate import EvaluationResult, evaluate
from linftui.train.objectives import MixtureLoss
from linftui.train.trainer import Trainer

CPU = torch.device("cpu")
GOLDEN = Path(__file__).with_name("golden_loss.json")
STEPS, STEPS_PER_EPOCH = 12, 4
RECIPE = """\
name: slice
epochs: 3
batch_size: 32
data: {dataset: digits, augment: {crop_padding: 1}}
model: {width: 12, depth: 3}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 0.5, end_epoch: 2.5}
objective:
  lam: {start: 0.1, end: 0.001}
evaluation: {batch_size: 16, reestimate_means: true}
checkpoint: {keep: 3}
log: {every_steps: 5}
"""


def never() -> bool:
    return False


def recipe_with(*overrides: str) -> Recipe:
    return parse_recipe(RECIPE, "slice.yaml", overrides).recipe


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So small a net gains nothing from more threads, and loses much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """100 images to train on, 48 to test on, 32 held out."""
    whole = load_dataset("digits")
    return replace(
        whole,
        train=whole.train.subset(torch.arange(100)),
        test=whole.test.subset(torch.arange(48)),
        holdout=whole.train.subset(torch.arange(100, 132)),
    )


@dataclass
class Run:
    """A run directory, and attempts at training in it."""

    paths: RunPaths
    recipe: Recipe
    dataset: Dataset
    attempt: int = 0
    writers: list[RunWriter] = field(default_factory=list)

    def begin(self, should_stop: Callable[[], bool] = never) -> Trainer:
        """A new attempt, from the newest checkpoint where there is one."""
        self.attempt += 1
        state = StateRecord(
            attempt=self.attempt, phase="running", host=this_host(), members=[], devices=["cpu"], threads=1,
            time=0.0,
        )  # fmt: skip
        write_record(self.paths.state, state)
        trainer = Trainer(resolved(self.recipe), self.dataset, self.paths, self.attempt, should_stop)
        self.writers.append(trainer.writer)
        checkpoint, _ = load_latest(self.paths, CPU)
        if checkpoint is not None:
            trainer.resume_from(checkpoint)
        return trainer

    def close(self) -> None:
        for writer in self.writers:
            writer.close()

    def records(self) -> list[dict[str, Any]]:
        """What a curve shows, without the clock and the attempt."""
        clock = {"attempt", "time", "seconds", "images_per_s"}
        records = [msgspec.to_builtins(record) for record in latest_by_step(read_all(self.paths))]
        return [{key: value for key, value in record.items() if key not in clock} for record in records]

    def train_records(self) -> list[TrainRecord]:
        return [record for record in read_all(self.paths) if isinstance(record, TrainRecord)]

    def eval_records(self) -> list[EvalRecord]:
        return [record for record in read_all(self.paths) if isinstance(record, EvalRecord)]

    def events(self) -> list[str]:
        return [event.event for event in RunReader(self.paths).events()]

    def position(self) -> TrainerRecord:
        """What the newest checkpoint says of itself, without the clock and the attempt."""
        newest, _ = load_latest(self.paths, CPU)
        assert newest is not None
        return msgspec.structs.replace(newest.record, attempt=0, time=0.0)

    def tensors(self) -> tuple[bytes, bytes]:
        """The newest checkpoint's files, byte for byte."""
        newest = complete_checkpoints(self.paths)[-1]
        return newest.model.read_bytes(), newest.optimizer.read_bytes()


NewRun = Callable[..., Run]


@pytest.fixture
def new_run(digits: Dataset, tmp_path: Path) -> Iterator[NewRun]:
    """Makes a fresh run of the recipe with these overrides; one a test."""
    made: list[Run] = []

    def new(*overrides: str, dataset: Dataset = digits) -> Run:
        made.append(Run(RunPaths(tmp_path), recipe_with(*overrides), dataset))
        return made[-1]

    yield new
    made[0].close()


@pytest.fixture(scope="module")
def uninterrupted(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run from the first step to the last. Not to be changed."""
    run = Run(RunPaths(tmp_path_factory.mktemp("uninterrupted")), recipe_with(), digits)
    assert run.begin().fit() == "finished"
    yield run
    run.close()


@dataclass
class Step:
    """One step by hand: its schedules, and sums over its images."""

    p: float
    lam: float
    lr: float
    scalar: float
    images: int
    loss: float
    correct: int
    certified: int
    certified_train_eps: int


def by_hand(recipe: Recipe, dataset: Dataset) -> tuple[list[Step], dict[str, torch.Tensor]]:
    """The method's page, step by step: every step's figures, and the final weights."""
    model, objective = build_net(recipe, dataset, CPU), MixtureLoss(0.1)
    groups = [{"params": model.parameters()}, {"params": objective.parameters()}]
    adam = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-10)
    steps = []
    for step in range(STEPS):
        epoch, batch = divmod(step, STEPS_PER_EPOCH)
        t = step / STEPS_PER_EPOCH
        r = min(max((t - 0.5) / 2.0, 0), 1)
        p, lam = 8.0 * 125**r if r < 1 else math.inf, 0.1 * 0.01**r
        for group, lr in zip(adam.param_groups, (0.03, 0.006), strict=True):
            group["lr"] = lr / 2 * (1 + math.cos(math.pi * t / 3))
        index = batch_indices(epoch_order(0, epoch, 100), batch, 32)
        images, labels = dataset.train.images[index], dataset.train.labels[index]
        sample = dataset.train.indices[index]
        crops = augment(images, sample, seed=0, epoch=epoch, crop_padding=1, flip=False)
        logits = model(to_pixels(crops, 16), Moment(p=p))
        loss = objective.of_logits(logits, labels, 0.3 / 0.376, lam, len(labels))
        adam.zero_grad()
        loss.backward()
        adam.step()
        own = logits[torch.arange(len(labels)), labels]
        others = logits.masked_fill(torch.nn.functional.one_hot(labels, 10).bool(), -math.inf).amax(1)
        wider = [int((own - others > 2 * eps / 0.376).sum()) for eps in (0, 0.1, 0.3)]
        lr, scalar = adam.param_groups[0]["lr"], objective.scalar.item()
        steps.append(Step(p, lam, lr, scalar, len(labels), loss.item() * len(labels), *wider))
    return steps, model.state_dict()


class TestRecords:
    def test_a_training_record_has_every_field_that_others_read(self, uninterrupted: Run) -> None:
        lines = [json.loads(line) for line in uninterrupted.paths.metrics.read_text().splitlines()]
        train = [line for line in lines if line["kind"] == "train"]
        assert set(train[0]) == {
            "kind", "v", "attempt", "step", "epoch", "time", "loss", "accuracy", "certified_at_p",
            "certified_at_p_train_eps", "p", "lam", "eps", "lr", "scalar", "images_per_s", "figures",
        }  # fmt: skip
        assert all(line["attempt"] == 1 and line["images_per_s"] > 0 for line in train)
        assert all(line["eps"] == 0.3 for line in train) and train[-1]["p"] == "inf"

    def test_an_evaluation_record_has_every_field_that_others_read(self, uninterrupted: Run) -> None:
        lines = [json.loads(line) for line in uninterrupted.paths.metrics.read_text().splitlines()]
        evaluation = next(line for line in lines if line["kind"] == "eval")
        assert set(evaluation) == {
            "kind", "v", "attempt", "step", "epoch", "time", "split", "n", "clean_accuracy",
            "certified_accuracy", "eps", "means", "seconds",
        }  # fmt: skip
        assert evaluation["eps"] == 0.1

    @pytest.mark.parametrize(
        ("every", "steps"), [(1, range(1, 13)), (4, [4, 8, 12]), (5, [5, 10, 12]), (100, [12])]
    )
    def test_training_is_recorded_every_so_many_steps_and_at_the_end(
        self, new_run: NewRun, every: int, steps: list[int]
    ) -> None:
        run = new_run(f"log.every_steps={every}")
        run.begin().fit()
        assert [record.step for record in run.train_records()] == list(steps)
        assert [record.epoch for record in run.train_records()] == [step / 4 for step in steps]

    def test_a_record_holds_the_means_over_the_images_since_the_one_before(
        self, uninterrupted: Run, digits: Dataset
    ) -> None:
        steps, _ = by_hand(uninterrupted.recipe, digits)
        assert [step.images for step in steps] == [32, 32, 32, 4] * 3  # the partial batch is kept
        for record, window in zip(
            uninterrupted.train_records(), (steps[:5], steps[5:10], steps[10:]), strict=True
        ):
            n = sum(step.images for step in window)
            assert record.loss == pytest.approx(sum(step.loss for step in window) / n, rel=1e-6)
            assert record.accuracy == sum(step.correct for step in window) / n
            assert record.certified_at_p == sum(step.certified for step in window) / n
            assert record.certified_at_p_train_eps == sum(step.certified_train_eps for step in window) / n
            assert record.p == pytest.approx(window[-1].p)
            assert record.lam == pytest.approx(window[-1].lam)
            assert record.lr == pytest.approx(window[-1].lr)
            assert record.scalar == window[-1].scalar
        assert any(0 < record.certified_at_p < record.accuracy for record in uninterrupted.train_records())

    def test_the_weights_are_those_of_the_method_done_by_hand(
        self, uninterrupted: Run, digits: Dataset
    ) -> None:
        _, expected = by_hand(uninterrupted.recipe, digits)
        last, _ = load_latest(uninterrupted.paths, CPU)
        assert last is not None and last.record.step == STEPS
        assert all(torch.equal(value, expected[name]) for name, value in last.model.items())

    def test_every_epoch_ends_with_an_evaluation_of_each_kind(self, uninterrupted: Run) -> None:
        kinds = [(record.step, record.split, record.means) for record in uninterrupted.eval_records()]
        assert kinds == [
            (step, *kind)
            for step in (4, 8, 12)
            for kind in (("test", "running"), ("test", "re-estimated"), ("holdout", "running"))
        ]
        assert [record.n for record in uninterrupted.eval_records()] == [48, 48, 32] * 3

    def test_an_evaluation_is_of_the_weights_at_its_step(self, uninterrupted: Run, digits: Dataset) -> None:
        recipe = uninterrupted.recipe
        for record in uninterrupted.eval_records():
            model = build_net(recipe, digits, CPU)
            restore_model(model, find_checkpoint(uninterrupted.paths, str(record.step), CPU)[0])
            if record.means == "re-estimated":
                model = model.with_reestimated_means(images_for_means(digits.train), 16)
            images = digits.test if record.split == "test" else digits.holdout
            assert images is not None
            result = evaluate(model, images, recipe.eps.test, 16, 7, never)
            assert result == EvaluationResult(record.n, record.clean_accuracy, record.certified_accuracy)

    @pytest.mark.parametrize(("every", "steps"), [(2, {8, 12}), (3, {12}), (100, {12})])
    def test_evaluations_and_checkpoints_come_every_so_many_epochs_and_at_the_end(
        self, new_run: NewRun, every: int, steps: set[int]
    ) -> None:
        run = new_run(f"evaluation.every_epochs={every}", f"checkpoint.every_epochs={every}")
        run.begin().fit()
        assert {record.step for record in run.eval_records()} == steps
        checkpoints = {checkpoint.step for checkpoint in complete_checkpoints(run.paths)}
        assert checkpoints == steps

    def test_its_events_tell_the_story(self, uninterrupted: Run) -> None:
        assert uninterrupted.events() == ["started", "checkpoint", "checkpoint", "checkpoint", "finished"]

    def test_the_loss_follows_the_golden_curve(self, new_run: NewRun) -> None:
        """To accept a change of the method: write the losses seen here, every step's, into the file."""
        run = new_run("log.every_steps=1")
        run.begin().fit()
        losses = [record.loss for record in run.train_records()]
        assert losses == pytest.approx(json.loads(GOLDEN.read_text())["loss"], rel=1e-4)


class TestSeeds:
    def test_a_seed_decides_everything_whatever_the_global_generator_did(
        self, new_run: NewRun, uninterrupted: Run
    ) -> None:
        torch.manual_seed(1234)
        run = new_run()
        run.begin().fit()
        assert run.tensors() == uninterrupted.tensors() and run.records() == uninterrupted.records()

    def test_another_seed_is_another_run(self, new_run: NewRun, uninterrupted: Run) -> None:
        run = new_run("seed=1")
        run.begin().fit()
        assert run.tensors()[0] != uninterrupted.tensors()[0]
        assert run.train_records()[0].loss != uninterrupted.train_records()[0].loss


class TestResume:
    def assert_no_trace(self, run: Run, uninterrupted: Run) -> None:
        assert run.tensors() == uninterrupted.tensors()
        assert run.position() == uninterrupted.position()
        assert run.records() == uninterrupted.records()

    @pytest.mark.parametrize("stop_at", range(STEPS + 1))
    def test_a_stop_after_any_step_leaves_no_trace(
        self, new_run: NewRun, uninterrupted: Run, stop_at: int
    ) -> None:
        run = new_run()
        trainer = run.begin(lambda: trainer.step >= stop_at)
        assert trainer.fit() == "stopped" and trainer.step == stop_at
        assert run.events()[-1] == "stopped" and {"stop-seen", "checkpoint"} < set(run.events())
        assert run.begin().fit() == "finished"
        self.assert_no_trace(run, uninterrupted)

    @pytest.mark.parametrize("looks", range(1, 9))
    def test_nor_does_a_stop_inside_an_evaluation(
        self, new_run: NewRun, uninterrupted: Run, looks: int
    ) -> None:
        """The evaluations at step 8 look 8 times whether to stop, and then the loop looks once more."""
        run, seen = new_run(), iter(range(100))
        trainer = run.begin(lambda: trainer.step == 8 and next(seen) >= looks)
        assert trainer.fit() == "stopped" and trainer.step == 8
        assert trainer.evaluated == (looks == 8)
        assert run.begin().fit() == "finished"
        self.assert_no_trace(run, uninterrupted)

    def test_nor_do_many_stops(self, new_run: NewRun, uninterrupted: Run) -> None:
        """Each attempt makes one step, then an evaluation asked to stop at once, which the next one does."""
        run, began_at = new_run(), 0
        while True:
            trainer = run.begin(lambda: trainer.step > began_at)  # noqa: B023 - asked within this round
            began_at = trainer.step
            if trainer.fit() == "finished":
                break
        assert run.attempt == STEPS + 1
        self.assert_no_trace(run, uninterrupted)

    @pytest.mark.parametrize("kept", [0, 1, 2])
    def test_nor_does_a_kill_that_loses_the_newest_steps(
        self, uninterrupted: Run, tmp_path: Path, kept: int
    ) -> None:
        """Their records stay, are written again by the next attempt, and are the same."""
        paths = RunPaths(shutil.copytree(uninterrupted.paths.root, tmp_path / "killed"))
        for checkpoint in complete_checkpoints(paths)[kept:]:
            shutil.rmtree(checkpoint.root)
        run = replace(uninterrupted, paths=paths)
        trainer = run.begin()
        assert trainer.step == STEPS_PER_EPOCH * kept
        assert trainer.fit() == "finished"
        self.assert_no_trace(run, uninterrupted)
        assert {record.attempt for record in latest_by_step(read_all(paths)) if record.step == 12} == {2}

    def test_a_finished_run_has_nothing_left_to_do(self, uninterrupted: Run, tmp_path: Path) -> None:
        paths = RunPaths(shutil.copytree(uninterrupted.paths.root, tmp_path / "again"))
        before = paths.metrics.read_bytes()
        assert replace(uninterrupted, paths=paths).begin().fit() == "finished"
        assert paths.metrics.read_bytes() == before

    def test_a_newer_attempt_ends_the_older_one_without_a_further_record(self, new_run: NewRun) -> None:
        run = new_run()
        older = run.begin()
        run.begin()
        with pytest.raises(StaleAttemptError, match="attempt 1 stops, attempt 2 owns this run now"):
            older.fit()
        assert read_all(run.paths) == [] and complete_checkpoints(run.paths) == []


class TestBest:
    def evaluations(self, monkeypatch: pytest.MonkeyPatch, test: list[float], holdout: list[float]) -> None:
        """Makes every evaluation report these certified accuracies, by split."""
        reports = {48: iter(test), 32: iter(holdout)}

        def reported(model: object, images: Any, *rest: object) -> EvaluationResult:
            return EvaluationResult(len(images), 1.0, next(reports[len(images)]))

        monkeypatch.setattr(trainer_module, "evaluate", reported)

    @pytest.mark.parametrize(
        ("holdout", "best"), [([0.3, 0.5, 0.4], 8), ([0.3, 0.3, 0.3], 4), ([0.1, 0.2, 0.3], 12)]
    )
    def test_the_held_out_images_choose_it_and_the_test_images_do_not(
        self, new_run: NewRun, monkeypatch: pytest.MonkeyPatch, holdout: list[float], best: int
    ) -> None:
        run = new_run("checkpoint.keep=1", "evaluation.reestimate_means=false")
        self.evaluations(monkeypatch, [0.9, 0.1, 0.95], holdout)
        run.begin().fit()
        assert find_checkpoint(run.paths, "best", CPU)[0].record.step == best
        steps = {checkpoint.step for checkpoint in complete_checkpoints(run.paths)}
        assert steps == {best, STEPS}  # of all others only the newest is kept

    def test_without_held_out_images_there_is_none(self, new_run: NewRun, digits: Dataset) -> None:
        run = new_run(dataset=replace(digits, holdout=None))
        run.begin().fit()
        assert {record.split for record in run.eval_records()} == {"test"}
        with pytest.raises(CheckpointError, match="the test set must not choose one"):
            find_checkpoint(run.paths, "best", CPU)

    def test_it_is_not_forgotten_over_a_stop(self, new_run: NewRun, monkeypatch: pytest.MonkeyPatch) -> None:
        run = new_run("evaluation.reestimate_means=false")
        self.evaluations(monkeypatch, [0.1, 0.1, 0.1], [0.5, 0.4, 0.3])
        trainer = run.begin(lambda: trainer.step >= 6)
        trainer.fit()
        run.begin().fit()
        assert find_checkpoint(run.paths, "best", CPU)[0].record.step == 4


class TestDivergence:
    @pytest.mark.parametrize("poison", [math.nan, math.inf])
    def test_it_ends_training_at_the_next_record_and_keeps_the_last_checkpoint(
        self, new_run: NewRun, poison: float
    ) -> None:
        run = new_run()
        trainer = run.begin(lambda: trainer.step >= 4)
        trainer.fit()
        trainer = run.begin()
        trainer.net.last.weight.data[3, 5] = poison
        with pytest.raises(TrainingError, match=r"no longer finite, noticed at step 5 \(epoch 1\.25"):
            trainer.fit()
        assert run.train_records() == []
        assert load_latest(run.paths, CPU)[0].record.step == 4
        assert run.begin().fit() == "finished"
