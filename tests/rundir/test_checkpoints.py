"""Which checkpoint is meant, told by the records alone, before anything is loaded."""

from pathlib import Path

import pytest

from linftui.errors import CheckpointError, NoSuchCheckpointError, UsageError
from linftui.rundir.checkpoints import choose_checkpoint, newest_readable
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import BestRecord, TrainerRecord, WindowSums
from linftui.rundir.writer import write_record


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """A run without checkpoints so far."""
    paths = RunPaths(tmp_path / "run")
    paths.checkpoints.mkdir(parents=True)
    return paths


def save(paths: RunPaths, step: int, attempt: int = 1, best: int | None = None) -> None:
    """A checkpoint without tensors, which nobody looks at here."""
    checkpoint = paths.checkpoint(step)
    checkpoint.root.mkdir()
    record = TrainerRecord(
        attempt=attempt, step=step, epoch=step / 12, seed=0, steps_per_epoch=12, recipe_hash="0f",
        window=WindowSums(images=3, loss=0.1), evaluated=True, sha256={}, time=0.0,
        best=None if best is None else BestRecord(step=best, certified_accuracy=0.5),
    )  # fmt: skip
    write_record(checkpoint.trainer, record)
    checkpoint.complete.touch()


def chosen(paths: RunPaths, which: str) -> int | None:
    checkpoint = choose_checkpoint(paths, which)
    return None if checkpoint is None else checkpoint.step


def test_the_latest_is_of_the_latest_attempt_and_complete(paths: RunPaths) -> None:
    assert chosen(paths, "latest") is None
    save(paths, 36)
    save(paths, 12, attempt=2)
    save(paths, 24, attempt=2)
    assert chosen(paths, "latest") == 24
    paths.checkpoint(24).complete.unlink()
    assert chosen(paths, "latest") == 12
    paths.checkpoint(12).trainer.write_text("{")
    assert chosen(paths, "latest") == 36
    paths.checkpoint(36).trainer.unlink()
    assert chosen(paths, "latest") is None


def test_what_a_killed_process_left_nameless_counts(paths: RunPaths) -> None:
    save(paths, 24)
    paths.checkpoint(24).root.rename(paths.checkpoints / ".step-00000024.successor")
    assert chosen(paths, "24") == chosen(paths, "latest") == 24


def test_the_best_is_the_one_that_the_latest_names(paths: RunPaths) -> None:
    for step, best in ((12, 12), (24, 24), (36, 24)):
        save(paths, step, best=best)
    assert chosen(paths, "best") == 24
    paths.checkpoint(24).complete.unlink()
    with pytest.raises(NoSuchCheckpointError, match="no complete checkpoint at step 24; it has: 12, 36"):
        choose_checkpoint(paths, "best")


def test_a_best_that_is_still_to_come_is_told_so(paths: RunPaths, tiny_recipe: Path) -> None:
    save(paths, 12)
    paths.resolved.write_text(tiny_recipe.read_text().replace("digits}", "digits, holdout: 100}"))
    with pytest.raises(NoSuchCheckpointError, match="its held-out images have not been evaluated yet$"):
        choose_checkpoint(paths, "best")


def test_one_to_go_on_from_is_the_newest_that_can_be_read(paths: RunPaths) -> None:
    assert newest_readable(paths) is None
    for step in (12, 24):
        save(paths, step)
    assert newest_readable(paths) == paths.checkpoint(24)
    paths.checkpoint(24).trainer.write_text("damaged")
    assert newest_readable(paths) == paths.checkpoint(12)


@pytest.mark.parametrize(
    ("which", "said"),
    [
        (
            "best",
            "run has no best checkpoint; set data.holdout in the recipe: the test set must not choose one",
        ),
        ("7", "run has no complete checkpoint at step 7; it has: 12, 24"),
        ("newest", "--checkpoint 'newest' is not latest, best or a step"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(paths: RunPaths, which: str, said: str) -> None:
    save(paths, 12)
    save(paths, 24)
    with pytest.raises(NoSuchCheckpointError) as refused:
        choose_checkpoint(paths, which)
    assert str(refused.value) == said and refused.value.exit_code == 2
    assert isinstance(refused.value, UsageError) and isinstance(refused.value, CheckpointError)


@pytest.mark.parametrize("which", ["", "-1", "1.5", "step-00000012", "٣", "9" * 5000, "12\n"])
def test_other_words_stand_for_none(paths: RunPaths, which: str) -> None:
    with pytest.raises(NoSuchCheckpointError, match="is not latest, best or a step"):
        choose_checkpoint(paths, which)
