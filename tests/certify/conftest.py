"""A net that is worth certifying, and the test images it is certified on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from linftui.build import build_dataset
from linftui.certify.subject import Subject, load_subject
from linftui.recipe.load import dump_recipe, parse_recipe, resolved
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import StateRecord
from linftui.rundir.writer import write_record
from linftui.train.trainer import Trainer

CPU = torch.device("cpu")

# About 74% clean and 62% certified at 0.1 after a second or two.
RECIPE = """\
name: trained
epochs: 30
batch_size: 128
data: {dataset: digits}
model: {width: 16, depth: 3}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 3, end_epoch: 27}
objective:
  lam: {start: 0.1, end: 0.0005}
evaluation: {every_epochs: 15, reestimate_means: true, batch_size: 100}
checkpoint: {every_epochs: 15}
log: {every_steps: 100}
"""


@contextmanager
def one_thread() -> Iterator[None]:
    """So small a net gains nothing from more threads, and loses much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A run directory as a worker leaves it: two checkpoints, evaluations of each. Do not write to it."""
    paths = RunPaths(tmp_path_factory.mktemp("trained") / "trained-run")
    paths.root.mkdir()
    recipe = parse_recipe(RECIPE, "trained.yaml").recipe
    paths.resolved.write_text(dump_recipe(recipe))
    write_record(
        paths.state,
        StateRecord(
            attempt=1, phase="running", host=this_host(), members=[], devices=["cpu"], threads=1, time=0.0
        ),
    )
    trainer = Trainer(resolved(recipe), build_dataset(recipe, CPU), paths, 1, should_stop=lambda: False)
    with one_thread():
        assert trainer.fit() == "finished"
    return paths


@pytest.fixture(scope="session")
def trained(trained_run: RunPaths) -> Subject:
    """The trained net as it is certified: with all test images, and a folder not to write to."""
    subject, warnings = load_subject(trained_run, "latest", "running", None, CPU)
    assert warnings == []
    return subject
