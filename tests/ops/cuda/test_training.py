"""A net trained by the GPU's kernels, executed on the CPU: the curve is that of the CPU's own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from host_launcher import HostLauncher

from linftui.data.datasets import load_dataset
from linftui.ops import cuda, registration
from linftui.recipe.load import parse_recipe
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_all
from linftui.rundir.records import EvalRecord, StateRecord, TrainRecord
from linftui.rundir.writer import write_record
from linftui.train import trainer as trainer_module
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


def train(folder: Path) -> RunPaths:
    recipe, paths = parse_recipe(RECIPE, "slice.yaml", ()).recipe, RunPaths(folder)
    state = StateRecord(
        attempt=1, phase="running", host=this_host(), members=[], devices=["cpu"], threads=1, time=0.0
    )
    folder.mkdir()
    write_record(paths.state, state)
    digits = load_dataset("digits")
    dataset = replace(
        digits, train=digits.train.subset(torch.arange(128)), test=digits.test.subset(torch.arange(32))
    )
    trainer = Trainer(recipe, dataset, paths, 1, lambda: False)
    assert trainer.fit() == "finished"
    assert trainer.writer is not None
    trainer.writer.close()
    return paths


@pytest.mark.slow
def test_the_curve_is_that_of_the_cpu(
    host: HostLauncher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = train(tmp_path / "cpu")
    monkeypatch.setattr(registration, "backend_for", lambda x: cuda)
    monkeypatch.setattr(
        trainer_module, "kernels_at", lambda p, device: cuda.describe(p, cuda.survivors_of(device).read())
    )
    got = train(tmp_path / "gpu")
    for ours, theirs in zip(read_all(got), read_all(expected), strict=True):
        if isinstance(ours, TrainRecord):
            assert isinstance(theirs, TrainRecord) and ours.loss == pytest.approx(theirs.loss, rel=1e-5)
        else:
            assert isinstance(theirs, EvalRecord)
            assert ours.clean_accuracy == pytest.approx(theirs.clean_accuracy, abs=2 / ours.n)
    told = [event.message for event in RunReader(got).events() if event.event == "kernels"]
    assert told[0] == "p 8: forward: whole power 8; backward: whole power 8"
    assert told[-1] == "p inf: forward: maxima; backward: scatter" and len(told) == len(set(told))
    assert {kernel.source for kernel, _, _ in host.launches} >= {"power.cu", "gradient.cu", "argmax.cu"}
