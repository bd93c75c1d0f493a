"""The window of sums between two training records: its means, and what a checkpoint keeps of it."""

import math

import pytest
import torch
from torch import Tensor

from linftui.rundir.records import WindowSums, decoder, encode
from linftui.train.window import Window

CPU = torch.device("cpu")


def figures(**values: float) -> dict[str, Tensor]:
    common = dict.fromkeys(WindowSums.COMMON, 0.0)
    return {name: torch.tensor(value) for name, value in (common | values).items()}


def test_means_are_over_images_and_not_over_steps() -> None:
    window = Window(CPU)
    window.add(figures(loss=6.0, correct=2), 3)
    window.add(figures(loss=1.0, correct=1), 1)
    assert window.images == 4
    assert window.means() == {"loss": 7 / 4, "correct": 3 / 4, "certified": 0, "certified_train_eps": 0}
    window.clear()
    window.add(figures(loss=2.0), 4)
    assert window.means()["loss"] == 0.5


def test_sums_are_kept_in_double_precision() -> None:
    window = Window(CPU)
    for _ in range(1000):
        window.add(figures(loss=0.1), 1)
    assert window.means()["loss"] == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)


def test_a_window_put_back_goes_on_where_it_was() -> None:
    whole, first, second = Window(CPU), Window(CPU), Window(CPU)
    for window in (whole, first):
        window.add(figures(loss=1.5, rivals=2.0), 2)
    second.restore(decoder(WindowSums)(encode(first.record())))
    for window in (whole, second):
        window.add(figures(loss=0.25, rivals=1.0), 2)
    assert second.record() == whole.record()
    assert whole.record().figures == {"rivals": 3.0} and whole.means()["rivals"] == 0.75


def test_one_put_back_before_the_first_step_learns_the_names_of_figures_at_that_step() -> None:
    window = Window(CPU)
    window.restore(WindowSums())
    window.add(figures(rivals=1.0), 2)
    assert window.means()["rivals"] == 0.5


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["loss", "rivals"])
def test_what_is_not_finite_shows(name: str, poison: float) -> None:
    window = Window(CPU)
    window.add(figures(rivals=1.0), 2)
    assert window.is_finite()
    window.add(figures(**{"rivals": 1.0, name: poison}), 2)
    assert not window.is_finite()


def test_figures_keep_their_sums_in_whatever_order_they_come() -> None:
    window = Window(CPU)
    window.add(figures(loss=1.0, rivals=2.0), 2)
    window.add({"rivals": torch.tensor(1.0), **figures(loss=0.5)}, 2)
    assert window.record() == WindowSums(images=4, loss=1.5, figures={"rivals": 3.0})
