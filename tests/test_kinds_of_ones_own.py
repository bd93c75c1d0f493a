"""A model, an objective and a data set of one's own: each is in this file alone, and nothing else knows it.

They train, resume, certify and are shown like those that linftui has.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from msgspec import Meta
from textual.pilot import Pilot
from torch import Tensor, nn
from typer.testing import CliRunner

from linftui.build import build_dataset
from linftui.certify.certifier import certify
from linftui.certify.subject import load_subject
from linftui.checkpoint import load_latest
from linftui.cli.app import app
from linftui.data.images import Dataset, ImageSet, fingerprint
from linftui.launch.plan import LaunchPlan
from linftui.launch.prepare import create_run
from linftui.nn.layers import Flatten, Negate, Normalize, NormDistLinear
from linftui.nn.net import Layer, Net
from linftui.recipe.data import Augment, DataSection, DatasetFacts, Inputs
from linftui.recipe.load import parse_recipe
from linftui.recipe.model import ModelSection
from linftui.recipe.objective import ObjectiveSection
from linftui.recipe.schedule import Moment
from linftui.recipe.schema import json_schema
from linftui.recipe.section import Section
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import latest_by_step, read_all
from linftui.rundir.records import ExitRecord, StateRecord, TrainRecord
from linftui.rundir.store import RunStore, read_resolved
from linftui.rundir.writer import write_record
from linftui.train.objectives import Batch, Objective, Result
from linftui.train.trainer import Trainer
from linftui.tui.app import Dashboard
from linftui.tui.widgets.run_charts import RunCharts

CPU = torch.device("cpu")
RECIPE = """\
name: own
epochs: 30
batch_size: 16
data: {dataset: stripes}
model: {kind: prototypes, each: 2}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 3, end_epoch: 27}
objective: {kind: pull, strength: 0.5}
optimizer: {lr: 0.1}
evaluation: {every_epochs: 10}
checkpoint: {every_epochs: 10}
log: {every_steps: 4}
"""


# A data set: images of 4 x 4 pixels with one bright row, which is their class.


def drawn(n: int, seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    images = torch.randint(0, 90, (n, 1, 4, 4), generator=generator, dtype=torch.uint8)
    images[torch.arange(n), 0, labels] += 150
    return ImageSet(images, labels, torch.arange(n))


TRAIN, TEST = drawn(40, seed=0), drawn(24, seed=1)


class Stripes(Section, DataSection, frozen=True, kw_only=True, tag_field="dataset", tag="stripes"):
    """Images with one bright row."""

    implementation = f"{__name__}:stripes"
    facts = DatasetFacts(
        inputs=Inputs(shape=(1, 4, 4), classes=4, mean=(0.3,), std=0.3),
        levels=255,
        sha256=fingerprint(TEST, TRAIN),
        test_images=range(24),
        commonest_class=0.25,
    )
    root: None = None
    holdout: int = 0
    augment: Augment = Augment()


def stripes(data: Stripes) -> Dataset:
    return Dataset("stripes", TRAIN, TEST, None, data.facts.levels, data.facts.inputs, data.facts.sha256)


# A model: the least distance to the prototypes of each class.


class Prototypes(Section, ModelSection, frozen=True, kw_only=True, tag_field="kind", tag="prototypes"):
    """A few prototypes a class."""

    implementation = f"{__name__}:NearestPrototype"
    each: Annotated[int, Meta(ge=1, description="Prototypes of each class.")]

    def summary(self) -> str:
        return f"{self.each} prototypes"


class Nearest(nn.Module):
    """The greatest of `each` neighbouring logits: order decides, nothing is rounded."""

    def __init__(self, each: int) -> None:
        super().__init__()
        self.each = each

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        return x.unflatten(1, (-1, self.each)).amax(2)

    def bounds(self, box: Any) -> Any:
        ends = (end.unflatten(1, (-1, self.each)).amax(2) for end in (box.lower, box.upper))
        return type(box).of(*ends, box.finite)


class NearestPrototype(Net):
    def __init__(self, model: Prototypes, inputs: Inputs, seed: int) -> None:
        super().__init__()
        pixels, generator = math.prod(inputs.shape), torch.Generator().manual_seed(seed)
        self.normalize = Normalize(inputs.mean, inputs.std)
        self.prototypes = NormDistLinear(pixels, inputs.classes * model.each, generator=generator)
        self.nearest = Nearest(model.each)

    def layers(self) -> Iterator[Layer]:
        yield from (self.normalize, Flatten(), self.prototypes, Negate(), self.nearest)


# An objective: cross-entropy with a learned temperature, and a figure of its own.


class Pull(Section, ObjectiveSection, frozen=True, kw_only=True, tag_field="kind", tag="pull"):
    """Cross-entropy with a learned temperature."""

    implementation = f"{__name__}:Temperature"
    strength: Annotated[float, Meta(gt=0, description="Of the cross-entropy.")]


class Temperature(Objective):
    def __init__(self, objective: Pull, eps_test: float) -> None:
        super().__init__(eps_test)
        self.strength, self.temperature = objective.strength, nn.Parameter(torch.ones(()))

    def forward(self, net: Net, batch: Batch, moment: Moment) -> Result:
        logits = net(batch.pixels, moment)
        loss = nn.functional.cross_entropy(self.temperature * logits, batch.labels, reduction="sum")
        figures = self.figures(net, logits.detach(), batch.labels, moment)
        figures["nearest"] = logits.detach().amax(1).sum()
        return Result(self.strength * loss / max(1, batch.size), figures)

    def learned(self) -> dict[str, float]:
        return {"temperature": self.temperature.item()}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DataSection.registry.kinds, "stripes", Stripes)
    monkeypatch.setitem(ModelSection.registry.kinds, "prototypes", Prototypes)
    monkeypatch.setitem(ObjectiveSection.registry.kinds, "pull", Pull)


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    loaded = parse_recipe(RECIPE, "own.yaml")
    return create_run(RunStore(tmp_path), loaded, LaunchPlan(devices=("cpu",), threads=1), "own")


def attempt(run: RunPaths, number: int, should_stop: Callable[[], bool]) -> Trainer:
    """A trainer as a worker builds it."""
    state = StateRecord(
        attempt=number, phase="running", host=this_host(), members=[], devices=["cpu"], threads=1, time=0.0
    )
    write_record(run.state, state)
    resolved = read_resolved(run)
    trainer = Trainer(resolved, build_dataset(resolved.recipe, CPU), run, number, should_stop)
    checkpoint, _ = load_latest(run, CPU, trainer.net)
    if checkpoint is not None:
        trainer.resume_from(checkpoint)
    return trainer


def trained(run: RunPaths) -> RunPaths:
    assert attempt(run, 1, lambda: False).fit() == "finished"
    write_record(run.exit, ExitRecord(attempt=1, outcome="finished", code=0, time=0.0))
    return run


def test_it_trains_and_a_resumed_run_ends_with_the_same_bits(run: RunPaths, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = create_run(
        RunStore(tmp_path / "other"), parse_recipe(RECIPE, "own.yaml"),
        LaunchPlan(devices=("cpu",), threads=1), "own",
    )  # fmt: skip
    trained(run)
    first = attempt(other, 1, lambda: first.step >= 37)
    assert first.fit() == "stopped"
    assert attempt(other, 2, lambda: False).fit() == "finished"
    newest = [load_latest(paths, CPU)[0] for paths in (run, other)]
    assert newest[0] is not None and newest[1] is not None
    for part in ("model", "optimizer"):
        kept, resumed = (getattr(checkpoint, part) for checkpoint in newest)
        assert kept.keys() == resumed.keys() and all(torch.equal(kept[name], resumed[name]) for name in kept)
    assert "objective.temperature" in newest[0].optimizer

    figures = [
        [record.figures for record in latest_by_step(read_all(paths)) if isinstance(record, TrainRecord)]
        for paths in (run, other)
    ]
    assert figures[0] == figures[1] and set(figures[0][-1]) == {"nearest", "temperature"}
    last = [record for record in read_all(run) if isinstance(record, TrainRecord)][-1]
    assert last.lam is None and last.scalar is None and last.accuracy > 0.5


def test_it_is_certified_and_its_certificate_is_verified_where_it_is_shown(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, warnings = load_subject(trained(run), "latest", "running", None, CPU)
    summary = certify(subject, Fraction(1, 100), lambda: False)
    assert warnings == [] and 0.5 < summary.certified_accuracy <= summary.clean_accuracy
    monkeypatch.chdir(run.root.parent)
    shown = CliRunner().invoke(app, ["show", "own", "--runs-dir", "."])
    assert shown.exit_code == 0, shown.output
    assert f"eps-0.01: certified {summary.certified_accuracy:.4f}" in shown.output
    assert "unverified" not in shown.output and "lam" not in shown.output


def test_the_dashboard_shows_it(run: RunPaths) -> None:
    dashboard = Dashboard(RunStore(trained(run).root.parent), run)

    async def sees(pilot: Pilot[None], *texts: str) -> str:
        for _ in range(600):
            screen = "\n".join(strip.text for strip in dashboard.screen._compositor.render_strips())
            if all(text in screen for text in texts):
                return screen
            await pilot.pause(0.05)
        raise AssertionError(screen)

    async def look() -> None:
        async with dashboard.run_test(size=(120, 40)) as pilot:
            screen = await sees(pilot, "finished", "step 90")
            assert "λ" not in screen
            await pilot.press("4")  # the mixing coefficient's
            assert not dashboard.screen.query_one(RunCharts).enlarged and dashboard.focused is None
            await pilot.press("escape")
            await sees(pilot, "2 prototypes", "stripes")

    asyncio.run(look())


def test_a_recipe_and_the_schema_know_its_kinds(run: RunPaths) -> None:
    recipe = read_resolved(run).recipe
    assert isinstance(recipe.model, Prototypes) and recipe.model.each == 2
    assert recipe.cautions() == []
    definitions = json_schema()["$defs"]
    assert definitions["Prototypes"]["required"] == ["kind", "each"]
    assert {"$ref": "#/$defs/Pull"} in definitions["Recipe"]["properties"]["objective"]["anyOf"]
