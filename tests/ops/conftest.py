"""A short training on real digits, for kernels to be tried in: is a curve what it was?"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from linftui.data.datasets import load_dataset
from linftui.recipe.load import parse_recipe, resolved
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import StateRecord
from linftui.rundir.writer import write_record
from linftui.train.trainer import Trainer

# From whole powers through real and large p to infinity, an epoch of two steps each.
RECIPE = """\
name: slice
epochs: 6
batch_size: 64
data: {dataset: digits}
model: {width: 12, depth: 3}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 1, end_epoch: 5}
objective:
  lam: {start: 0.1, end: 0.001}
evaluation: {batch_size: 32}
log: {every_steps: 1}
"""

TrainSlice = Callable[..., RunPaths]


@pytest.fixture
def train_slice(tmp_path: Path) -> TrainSlice:
    """Trains in a folder of this name, with these overrides, and returns the run."""

    def train(name: str, *overrides: str) -> RunPaths:
        recipe, paths = parse_recipe(RECIPE, "slice.yaml", overrides).recipe, RunPaths(tmp_path / name)
        paths.root.mkdir()
        state = StateRecord(
            attempt=1, phase="running", host=this_host(), members=[], devices=["cpu"], threads=1, time=0.0
        )
        write_record(paths.state, state)
        digits = load_dataset("digits")
        few = replace(
            digits, train=digits.train.subset(torch.arange(128)), test=digits.test.subset(torch.arange(32))
        )
        trainer = Trainer(resolved(recipe), few, paths, 1, lambda: False)
        assert trainer.fit() == "finished" and trainer.writer is not None
        trainer.writer.close()
        return paths

    return train
