"""The schedules against their definition, and against the p of the published CIFAR-10 log."""

import math
from pathlib import Path

import pytest

from linftui.recipe.load import load_recipe
from linftui.recipe.schedule import PSchedule, cosine_lr
from linftui.recipe.schema import Recipe

CIFAR = Path(__file__).parents[2] / "recipes" / "cifar.yaml"


@pytest.fixture(scope="module")
def cifar() -> Recipe:
    return load_recipe(CIFAR).recipe


@pytest.fixture
def schedule() -> PSchedule:
    return PSchedule(p_start=8.0, p_final=1000.0, begin=10.0, end=90.0, lam_start=0.1, lam_end=0.001)


def test_p_keeps_its_start_until_the_stretch_begins(schedule: PSchedule) -> None:
    assert schedule.p(0.0) == schedule.p(5.0) == schedule.p(10.0) == 8
    assert schedule.p(10.01) > 8


def test_p_is_geometric_in_the_middle(schedule: PSchedule) -> None:
    assert schedule.p(50.0) == pytest.approx(math.sqrt(8 * 1000))
    assert schedule.p(30.0) / schedule.p(20.0) == pytest.approx(schedule.p(80.0) / schedule.p(70.0))


def test_p_comes_close_to_its_final_value_and_is_then_infinite(schedule: PSchedule) -> None:
    assert schedule.p(90.0 - 1e-6) == pytest.approx(1000, rel=1e-6)
    assert schedule.p(90.0) == schedule.p(90.5) == schedule.p(1e9) == math.inf


def test_lam_moves_over_the_same_stretch_as_p(schedule: PSchedule) -> None:
    assert schedule.lam(0.0) == schedule.lam(10.0) == 0.1
    assert schedule.lam(50.0) == pytest.approx(math.sqrt(0.1 * 0.001))
    assert schedule.lam(90.0) == schedule.lam(100.0) == pytest.approx(0.001)
    for t in (0.0, 12.5, 33.0, 89.0):
        share = math.log(schedule.p(t) / 8) / math.log(1000 / 8)
        assert math.log(schedule.lam(t) / 0.1) / math.log(0.001 / 0.1) == pytest.approx(share)


def test_a_p_that_does_not_grow_still_becomes_infinite() -> None:
    constant = PSchedule(p_start=8.0, p_final=8.0, begin=0.0, end=1.0, lam_start=1.0, lam_end=1.0)
    assert [constant.p(t) for t in (0.0, 0.5, 1.0)] == [8, 8, math.inf]
    assert [constant.lam(t) for t in (0.0, 0.5, 1.0)] == [1, 1, 1]


def test_the_learning_rate_is_half_a_cosine_over_all_epochs() -> None:
    assert cosine_lr(0.03, 0.0, 1300.0) == 0.03
    assert cosine_lr(0.03, 650.0, 1300.0) == pytest.approx(0.015)
    assert cosine_lr(0.03, 1300.0 / 3.0, 1300.0) == pytest.approx(0.0225)
    assert cosine_lr(0.03, 1300.0, 1300.0) == pytest.approx(0, abs=1e-15)


def test_the_schedule_of_a_recipe_takes_every_value_from_it(cifar: Recipe) -> None:
    assert PSchedule.of(cifar) == PSchedule(8.0, 1000.0, 100.0, 1250.0, 0.1, 0.0005)


@pytest.mark.parametrize(
    ("epoch", "p"),
    [(99, 8), (199, 12.1), (499, 42.7), (699, 98.9), (899, 229), (1149, 654), (1299, math.inf)],
)
def test_p_is_that_of_the_published_cifar_log(cifar: Recipe, epoch: int, p: float) -> None:
    assert float(f"{PSchedule.of(cifar).p(float(epoch)):.3g}") == p


def test_lam_ends_where_the_paper_says(cifar: Recipe) -> None:
    schedule = PSchedule.of(cifar)
    assert schedule.lam(0.0) == 0.1
    assert schedule.lam(1250.0) == schedule.lam(1299.0) == pytest.approx(0.0005)
