"""Checkpoints: bit for bit what was saved, whole or not there, and data only."""

import json
import os
import stat
import struct
import subprocess
import sys
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import CPU, ODD, names, record_of, save
from msgspec import structs
from support.poor_file_systems import files_of_at_most, overlaid
from torch import Tensor

from linftui import checkpoint as checkpoint_module
from linftui.build import build_dataset
from linftui.checkpoint import (
    amend_checkpoint,
    disk_shortage,
    find_checkpoint,
    load_checkpoint,
    load_latest,
    restore_model,
    save_checkpoint,
)
from linftui.errors import CheckpointError, RunDirectoryError
from linftui.recipe.load import load_recipe, resolved
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import CheckpointPaths, RunPaths
from linftui.rundir.records import StateRecord, encode
from linftui.rundir.writer import write_record
from linftui.train.trainer import Trainer

# Saves for ever, in a process that is killed and started anew; checks what is left after each kill.
SAVE_AND_KILL = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import TrainerRecord, WindowSums
from linftui.checkpoint import load_latest, prune_checkpoints, save_checkpoint

torch.set_num_threads(1)
paths = RunPaths(Path(sys.argv[1]))

def save(step, again=0):
    record = TrainerRecord(
        attempt=1, step=step, epoch=0.0, seed=0, steps_per_epoch=1, recipe_hash="", window=WindowSums(),
        best=None, evaluated=True, sha256={}, time=float(again),
    )
    save_checkpoint(paths, record, {"w": torch.full((50_000,), float(step))}, {"m": torch.ones(10)})
    prune_checkpoints(paths, 2, None)

def save_for_ever(step, same_step, report):
    save(step + 1)
    for n in range(1, 10**9):
        save(step + 1 if same_step else step + 1 + n, n)
        os.write(report, b".")

save(1)
chance, last = random.Random(0), 1
for kill in range(16):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        save_for_ever(last, kill % 2 == 1, writing)
    os.close(writing)
    os.read(reading, 1)
    time.sleep(chance.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told = 1
    while more := os.read(reading, 1 << 16):
        told += len(more)
    os.close(reading)
    loaded, skipped = load_latest(paths, torch.device("cpu"))
    assert loaded is not None and skipped in ([], ["checkpoint step-%08d is incomplete: it was not "
        "written to its end; the one before it is used" % (last + 1)]), skipped
    step = loaded.record.step
    assert step in (last, last + 1) if kill % 2 else step >= last + 1 + told, (kill, step, last, told)
    assert torch.equal(loaded.model["w"], torch.full((50_000,), float(step)))
    last = step
print("survived", last)
"""


def bits(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size, bytes]]:
    return {name: (t.dtype, t.shape, t.contiguous().numpy().tobytes()) for name, t in tensors.items()}


def trainer_at(paths: RunPaths, recipe: Path, step: int) -> Trainer:
    """A trainer that was stopped at that step, and saved."""
    loaded = load_recipe(recipe).recipe
    state = StateRecord(
        attempt=1, phase="running", host=this_host(), members=[], devices=["cpu"], threads=1, time=0.0
    )
    write_record(paths.state, state)
    trainer = Trainer(resolved(loaded), build_dataset(loaded, CPU), paths, 1, lambda: trainer.step >= step)
    assert trainer.fit() == "stopped"
    return trainer


class TestRoundTrip:
    def test_tensors_come_back_bit_for_bit(self, paths: RunPaths) -> None:
        generator = torch.Generator().manual_seed(0)
        model = {"a.weight": torch.randn(3, 5, generator=generator).t(), "odd": ODD, "empty": torch.empty(0)}
        optimizer = {"a.weight/step": torch.tensor(7.0), "n": torch.tensor(2**40), "d": ODD.double()}
        saved = save_checkpoint(paths, record_of(12), model, optimizer)
        loaded = load_checkpoint(paths.checkpoint(12), CPU)
        assert bits(loaded.model) == bits(model)
        assert bits(loaded.optimizer) == bits(optimizer)
        assert loaded.record == saved == structs.replace(record_of(12), sha256=saved.sha256)
        assert names(paths) == ["step-00000012"]

    def test_saving_a_step_again_replaces_it(self, paths: RunPaths) -> None:
        save(paths, 12, attempt=1)
        save(paths, 12, attempt=2)
        loaded = load_checkpoint(paths.checkpoint(12), CPU)
        assert (loaded.record.attempt, loaded.optimizer["m"].item()) == (2, 2.0)
        assert names(paths) == ["step-00000012"]

    def test_a_trainer_put_back_is_the_trainer_that_was_saved(
        self, paths: RunPaths, tiny_recipe: Path
    ) -> None:
        recipe = load_recipe(tiny_recipe, ["data.holdout=100"]).recipe  # 11 steps an epoch
        dataset = build_dataset(recipe, CPU)
        state = StateRecord(
            attempt=1, phase="running", host=this_host(), members=[], devices=["cpu"], threads=1, time=0.0
        )
        write_record(paths.state, state)
        first = Trainer(resolved(recipe), dataset, paths, 1, lambda: first.step >= 17)
        assert first.fit() == "stopped"

        second = Trainer(resolved(recipe), dataset, paths, 1, lambda: False)
        loaded, skipped = load_latest(paths, CPU, second.net)
        assert loaded is not None and skipped == []
        assert bits(second.net.state_dict()) != bits(first.net.state_dict())
        second.resume_from(loaded)
        assert second.step == 17
        assert second.best == first.best is not None
        assert bits(second.net.state_dict()) == bits(first.net.state_dict())
        assert bits(second.objective.state_dict()) == bits(first.objective.state_dict())
        assert second.window.record() == first.window.record()
        assert second.window.images == 2 * 128 and second.window.record().loss > 0
        for put_back, original in zip(second.names, first.names, strict=True):
            was = first.take_step.optimizer.state[original]
            assert set(was) == {"step", "exp_avg", "exp_avg_sq"}
            assert bits(second.take_step.optimizer.state[put_back]) == bits(was)

    def test_a_checkpoint_of_no_step_has_nothing_of_the_optimizer_and_is_gone_on_from(
        self, paths: RunPaths, tiny_recipe: Path
    ) -> None:
        trainer = trainer_at(paths, tiny_recipe, 0)
        loaded, _ = load_latest(paths, CPU)
        assert loaded is not None and set(loaded.optimizer) == {"objective.scalar"}
        trainer.resume_from(loaded)
        assert trainer.step == 0 and not trainer.take_step.optimizer.state

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda t: t.pop("last.weight/exp_avg"), "lacks last.weight/exp_avg"),
            (lambda t: t.pop("objective.scalar/step"), "lacks objective.scalar/step"),
            (lambda t: t.clear(), r"lacks hidden.0.weight/step, .*/exp_avg, .*/exp_avg_sq and \d more"),
            (
                lambda t: t.update({"last.bias/more": t["last.bias/step"]}),
                "holds last.bias/more, which fits no",
            ),
            (lambda t: t.update({"other/step": t["last.bias/step"]}), "holds other/step, which fits no"),
            (lambda t: t.update({"last.bias/step": torch.ones(10)}), "holds last.bias/step, which fits no"),
            (lambda t: t.update({"last.bias/exp_avg": torch.ones(9)}), "last.bias/exp_avg, which fits no"),
            (
                lambda t: t.update({"last.bias/exp_avg": torch.ones(10).double()}),
                "last.bias/exp_avg, which fits",
            ),
        ],
        ids=range(8),
    )
    def test_an_optimizer_that_is_not_whole_is_refused_by_what_it_lacks(
        self, paths: RunPaths, tiny_recipe: Path, change: Callable[[dict[str, Tensor]], object], said: str
    ) -> None:
        trainer = trainer_at(paths, tiny_recipe, 1)
        loaded, _ = load_latest(paths, CPU)
        assert loaded is not None
        scalar = loaded.optimizer["objective.scalar"]
        change(loaded.optimizer)
        loaded.optimizer["objective.scalar"] = scalar
        with pytest.raises(CheckpointError, match=f"the checkpoint's optimizer {'.*' + said}"):
            trainer.resume_from(loaded)

    def test_a_checkpoint_of_another_network_is_refused(self, paths: RunPaths) -> None:
        save(paths, 12)
        with pytest.raises(CheckpointError, match="step-00000012 holds another network"):
            restore_model(torch.nn.Linear(2, 2), load_checkpoint(paths.checkpoint(12), CPU))

    def test_an_amended_checkpoint_has_a_new_record_and_the_old_tensors(self, paths: RunPaths) -> None:
        saved = save(paths, 12)
        before = paths.checkpoint(12).model.stat().st_ino
        newer = structs.replace(record_of(12, attempt=3, best=12), evaluated=False)
        amended = amend_checkpoint(paths, newer, saved)
        loaded = load_checkpoint(paths.checkpoint(12), CPU)
        assert loaded.record == amended == structs.replace(newer, sha256=saved.sha256)
        assert loaded.optimizer["m"].item() == 1.0
        assert paths.checkpoint(12).model.stat().st_ino == before


class TestInterruption:
    @pytest.mark.slow
    def test_a_save_killed_at_any_moment_leaves_the_checkpoint_before_it(self, paths: RunPaths) -> None:
        done = subprocess.run(
            [sys.executable, "-c", SAVE_AND_KILL, str(paths.root)],
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0 and done.stdout.startswith("survived"), done.stderr

    def test_a_full_disk_leaves_the_checkpoint_before_and_no_rubbish(self, paths: RunPaths) -> None:
        save(paths, 12)
        for size in (0, 100, 300):  # within the model, within trainer.json
            with files_of_at_most(size), pytest.raises(RunDirectoryError, match="step-00000024.*cannot be"):
                save(paths, 24)
            assert names(paths) == ["step-00000012"]
        loaded, skipped = load_latest(paths, CPU)
        assert loaded is not None and loaded.record.step == 12 and skipped == []

    def test_a_full_disk_leaves_an_older_checkpoint_of_the_same_step(self, paths: RunPaths) -> None:
        save(paths, 12, attempt=1)
        with files_of_at_most(300), pytest.raises(RunDirectoryError):
            save(paths, 12, attempt=2)
        assert load_checkpoint(paths.checkpoint(12), CPU).record.attempt == 1

    def test_what_a_killed_process_saved_and_could_not_name_any_more_is_found(self, paths: RunPaths) -> None:
        """Where a file system cannot exchange folders, a checkpoint has for a moment another name."""
        save(paths, 12)
        save(paths, 24, attempt=1)
        paths.checkpoint(24).root.rename(paths.checkpoints / ".step-00000024.successor")
        loaded, skipped = load_latest(paths, CPU)
        assert loaded is not None and loaded.record.step == 24 and skipped == []
        paths.checkpoint(24).root.rename(paths.checkpoints / ".step-00000024.successor")
        assert find_checkpoint(paths, "24", CPU)[0].record.step == 24
        assert names(paths) == ["step-00000012", "step-00000024"]

    def test_a_checkpoint_of_an_image_is_replaced_in_an_overlay_over_it(self, tmp_path: Path) -> None:
        image = RunPaths(tmp_path / "image" / "run")
        image.checkpoints.mkdir(parents=True)
        save(image, 12, attempt=1)
        with overlaid(tmp_path / "image", tmp_path) as merged:
            paths = RunPaths(merged / "run")
            save(paths, 12, attempt=2)
            assert load_checkpoint(paths.checkpoint(12), CPU).record.attempt == 2
            assert names(paths) == ["step-00000012"]

    def test_a_disk_too_small_for_three_more_is_warned_of(
        self, paths: RunPaths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save(paths, 12)
        assert disk_shortage(paths) == ""
        usage = namedtuple("usage", "free")
        monkeypatch.setattr(checkpoint_module.shutil, "disk_usage", lambda path: usage(1000))
        assert "free some space" in disk_shortage(paths)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


DAMAGES: dict[str, Callable[[CheckpointPaths], object]] = {
    "incomplete": lambda c: c.complete.unlink(),
    "model cut": lambda c: cut(c.model),
    "model flipped": lambda c: flip(c.model),
    "model gone": lambda c: c.model.unlink(),
    "model empty": lambda c: c.model.write_bytes(b""),
    "optimizer cut": lambda c: cut(c.optimizer),
    "optimizer flipped": lambda c: flip(c.optimizer),
    "optimizer gone": lambda c: c.optimizer.unlink(),
    "files swapped": lambda c: c.model.write_bytes(c.optimizer.read_bytes()),
    "record gone": lambda c: c.trainer.unlink(),
    "record cut": lambda c: c.trainer.write_bytes(c.trainer.read_bytes()[:40]),
    "record newer": lambda c: c.trainer.write_bytes(c.trainer.read_bytes().replace(b'"v":2', b'"v":99')),
    "record without hashes": lambda c: c.trainer.write_bytes(encode(record_of(24))),
}


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
    def test_a_damaged_checkpoint_is_skipped_for_the_one_before(
        self, paths: RunPaths, damage: Callable[[CheckpointPaths], object]
    ) -> None:
        save(paths, 12)
        save(paths, 24)
        damage(paths.checkpoint(24))
        with pytest.raises((CheckpointError, RunDirectoryError)):
            load_checkpoint(paths.checkpoint(24), CPU)
        for loaded, skipped in (load_latest(paths, CPU), find_checkpoint(paths, "latest", CPU)):
            assert loaded is not None and loaded.record.step == 12
            (sentence,) = skipped
            assert "step-00000024" in sentence and sentence.endswith("; the one before it is used")

    @pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
    def test_a_damaged_checkpoint_that_was_asked_for_is_an_error(
        self, paths: RunPaths, damage: Callable[[CheckpointPaths], object]
    ) -> None:
        save(paths, 12)
        save(paths, 24)
        damage(paths.checkpoint(24))
        with pytest.raises((CheckpointError, RunDirectoryError), match="24"):
            find_checkpoint(paths, "24", CPU)

    def test_files_that_match_their_hashes_and_are_no_tensors_are_damage_too(self, paths: RunPaths) -> None:
        saved = save(paths, 12)
        target = paths.checkpoint(12)
        target.model.write_bytes(b"\x80\x04N.")  # a pickle of None
        hashes = {**saved.sha256, "model.safetensors": checkpoint_module.sha256_of(target.model)}
        write_record(target.trainer, structs.replace(saved, sha256=hashes))
        with pytest.raises(CheckpointError, match="step-00000012 is damaged"):
            load_checkpoint(target, CPU)

    def test_where_all_are_damaged_the_reason_is_told(self, paths: RunPaths) -> None:
        for step in (12, 24):
            save(paths, step)
            flip(paths.checkpoint(step).model)
        loaded, skipped = load_latest(paths, CPU)
        assert loaded is None and len(skipped) == 2
        with pytest.raises(
            CheckpointError, match="no checkpoint to load: checkpoint step-00000024 is damaged"
        ):
            find_checkpoint(paths, "latest", CPU)


class TestStrangers:
    """Checkpoints that somebody prepared."""

    @pytest.fixture
    def network(self) -> torch.nn.Module:
        """What the checkpoints here are for."""
        network = torch.nn.Module()
        network.register_buffer("w", torch.zeros(4))
        network.register_buffer("odd", ODD)
        return network

    @pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors"])
    def test_a_file_too_large_for_the_network_is_not_read(
        self, paths: RunPaths, network: torch.nn.Module, file: str
    ) -> None:
        save(paths, 12)
        save(paths, 24)
        os.truncate(paths.checkpoint(24).root / file, 4 << 40)
        with pytest.raises(CheckpointError, match=f"{file} has 4,398,046,511,104 bytes, too many"):
            find_checkpoint(paths, "24", CPU, network)
        loaded, (sentence,) = find_checkpoint(paths, "latest", CPU, network)
        assert loaded.record.step == 12 and sentence.endswith("; the one before it is used")

    def test_a_link_in_place_of_a_checkpoint_leads_to_nothing_of_ours(
        self, paths: RunPaths, tmp_path: Path
    ) -> None:
        outside = RunPaths(tmp_path / "other")
        outside.root.mkdir()
        save(outside, 12)
        paths.checkpoint(12).root.symlink_to(outside.checkpoint(12).root)
        (paths.checkpoints / ".step-00000012.1.tmp").symlink_to(outside.checkpoint(12).root)
        save(paths, 12, attempt=1)
        assert load_checkpoint(outside.checkpoint(12), CPU).record.step == 12
        assert names(paths) == ["step-00000012"] and not paths.checkpoint(12).root.is_symlink()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_tensors_are_for_the_same_eyes_as_the_other_files(paths: RunPaths, umask: int) -> None:
    before = os.umask(umask)
    try:
        save(paths, 12)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths.checkpoint(12).root.iterdir()}
    assert modes == dict.fromkeys(modes, 0o644 & ~umask) and len(modes) == 4


def test_a_real_checkpoint_holds_data_only(finished_run: Path) -> None:
    files = sorted(path for path in (finished_run / "checkpoints").rglob("*") if path.is_file())
    assert len(files) == 8
    for path in files:
        data = path.read_bytes()
        assert not zipfile.is_zipfile(path)  # what torch.save writes
        if path.suffix == ".safetensors":
            (length,) = struct.unpack("<Q", data[:8])
            header = json.loads(data[8 : 8 + length])
            assert all({"dtype", "shape", "data_offsets"} == set(tensor) for tensor in header.values())
            assert max(tensor["data_offsets"][1] for tensor in header.values()) == len(data) - 8 - length
        elif path.name == "trainer.json":
            assert json.loads(data)["step"] == int(path.parent.name[5:])
        else:
            assert (path.name, data) == ("COMPLETE", b"")
