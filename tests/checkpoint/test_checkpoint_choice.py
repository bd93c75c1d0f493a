"""Which checkpoint is meant, and which are kept."""

import os
from pathlib import Path

import pytest
from checkpoints import CPU, names, save

from linftui.checkpoint import find_checkpoint, load_checkpoint, load_latest, prune_checkpoints
from linftui.errors import CheckpointError
from linftui.rundir.holding import free_to_remove
from linftui.rundir.paths import RunPaths


class TestFind:
    def test_a_checkpoint_is_found_by_its_step(self, paths: RunPaths) -> None:
        save(paths, 12)
        save(paths, 24)
        for which in ("12", "012", "24"):
            loaded, skipped = find_checkpoint(paths, which, CPU)
            assert (loaded.record.step, skipped) == (int(which), [])

    def test_the_best_is_the_one_that_the_latest_names(self, paths: RunPaths) -> None:
        for step, best in ((12, 12), (24, 24), (36, 24)):
            save(paths, step, best=best)
        assert find_checkpoint(paths, "best", CPU)[0].record.step == 24

    def test_there_is_no_best_without_a_holdout(self, paths: RunPaths) -> None:
        save(paths, 12)
        with pytest.raises(CheckpointError, match="no best checkpoint; set data.holdout"):
            find_checkpoint(paths, "best", CPU)

    def test_a_step_without_checkpoint_is_told_which_there_are(self, paths: RunPaths) -> None:
        with pytest.raises(CheckpointError, match="no complete checkpoint at step 13; it has: none"):
            find_checkpoint(paths, "13", CPU)
        save(paths, 12)
        save(paths, 24)
        with pytest.raises(CheckpointError, match="no complete checkpoint at step 13; it has: 12, 24"):
            find_checkpoint(paths, "13", CPU)

    def test_a_run_without_checkpoints_is_told_so(self, paths: RunPaths) -> None:
        assert load_latest(paths, CPU) == (None, [])
        with pytest.raises(CheckpointError, match="no checkpoint was saved"):
            find_checkpoint(paths, "latest", CPU)

    @pytest.mark.parametrize("which", ["newest", "-1", "1.5", "", "step-00000012"])
    def test_other_words_are_refused(self, paths: RunPaths, which: str) -> None:
        save(paths, 12)
        with pytest.raises(CheckpointError, match="is not latest, best or a step"):
            find_checkpoint(paths, which, CPU)

    def test_a_later_attempt_is_newer_whatever_its_step(self, paths: RunPaths) -> None:
        save(paths, 36, attempt=1)
        save(paths, 12, attempt=2)
        assert find_checkpoint(paths, "latest", CPU)[0].record.step == 12


class TestPrune:
    def test_the_newest_are_kept_by_attempt_then_step_and_the_best(self, paths: RunPaths) -> None:
        for step, attempt in ((12, 1), (24, 1), (36, 1), (48, 1), (18, 2)):
            save(paths, step, attempt)
        prune_checkpoints(paths, 2, best=24)
        assert names(paths) == ["step-00000018", "step-00000024", "step-00000048"]
        prune_checkpoints(paths, 1, best=None)
        assert names(paths) == ["step-00000018"]

    def test_one_that_is_certified_stays_until_that_ends(self, paths: RunPaths) -> None:
        """Whatever else is saved meanwhile: the certification has only begun to read it."""
        save(paths, 12)
        loaded = [find_checkpoint(paths, "latest", CPU)[0], load_checkpoint(paths.checkpoint(12), CPU)]
        for step in (24, 36):
            save(paths, step)
            prune_checkpoints(paths, 1, best=None)
            assert names(paths) == ["step-00000012", f"step-{step:08d}"]
            loaded.pop()
        prune_checkpoints(paths, 1, best=None)
        assert names(paths) == ["step-00000036"]

    def test_one_that_was_certified_stays(self, paths: RunPaths) -> None:
        for step in (12, 24, 36):
            save(paths, step)
        paths.checkpoint(24).complete.unlink()  # there is nothing left to stand behind the certificate
        for name in (
            "step-00000012-eps-8_255-re-estimated",
            "step-00000024-eps-0.1",
            "step-00000099-eps-0.1",
        ):
            paths.certificate(name).root.mkdir(parents=True)
        prune_checkpoints(paths, 1, best=None)
        assert names(paths) == ["step-00000012", "step-00000036"]

    def test_one_whose_lock_cannot_be_asked_stays(self, paths: RunPaths) -> None:
        """It is another user's, or has another name elsewhere."""
        for step in (12, 24, 36):
            save(paths, step)
        paths.checkpoint(12).lock.touch()
        os.link(paths.checkpoint(12).lock, paths.root / "elsewhere")
        prune_checkpoints(paths, 1, best=None)
        assert names(paths) == ["step-00000012", "step-00000036"]

    def test_one_that_is_being_removed_is_not_taken(self, paths: RunPaths) -> None:
        save(paths, 12)
        with free_to_remove(paths.checkpoint(12)) as free:
            assert free
            with pytest.raises(CheckpointError, match="checkpoint step-00000012 is being removed"):
                load_checkpoint(paths.checkpoint(12), CPU)
        assert load_checkpoint(paths.checkpoint(12), CPU).record.step == 12

    def test_what_was_left_half_written_goes_and_does_not_count(self, paths: RunPaths) -> None:
        save(paths, 12)
        save(paths, 24)
        paths.checkpoint(24).complete.unlink()
        (paths.checkpoints / ".step-00000036.tmp").mkdir()
        prune_checkpoints(paths, 1, best=None)
        assert names(paths) == ["step-00000012"]

    def test_what_people_put_beside_the_checkpoints_stays(self, paths: RunPaths, tmp_path: Path) -> None:
        save(paths, 12)
        save(paths, 24)
        paths.checkpoint(12).root.rename(paths.checkpoints / "step-00000012-good")
        (paths.checkpoints / "step-notes.txt").write_text("24 is fine")
        outside = RunPaths(tmp_path / "other")
        outside.root.mkdir()
        save(outside, 12)
        links = [".step-00000030.tmp", "step-00000006"]
        for link in links:
            (paths.checkpoints / link).symlink_to(outside.checkpoint(12).root)
        prune_checkpoints(paths, 1, best=None)
        assert names(paths) == [*links, "step-00000012-good", "step-00000024", "step-notes.txt"]
        assert load_checkpoint(outside.checkpoint(12), CPU).record.step == 12
