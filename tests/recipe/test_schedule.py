"""The schedules against their definition, and against the p of the published CIFAR-10 log."""

import math
from pathlib import Path

import pytest

from linftui.recipe.load import load_recipe
from linftui.recipe.schedule import PSchedule, Schedules, cosine_lr
from linftui.recipe.schema import Recipe

CIFAR = Path(__file__).parents[2] / "recipes" / "cifar.yaml"


@pytest.fixture(scope="module")
def cifar() -> Recipe:
    return load_recipe(CIFAR).recipe


@pytest.fixture
def schedule() -> PSchedule:
    return PSchedule(start=8.0, final=1000.0, begin=10.0, end=90.0)


def lam(schedules: Schedules, t: float) -> float:
    value = schedules.at(t).lam
    assert value is not None
    return value


def test_p_keeps_its_start_until_the_stretch_begins(schedule: PSchedule) -> None:
    assert schedule.at(0.0) == schedule.at(5.0) == schedule.at(10.0) == 8
    assert schedule.at(10.01) > 8


def test_p_is_geometric_in_the_middle(schedule: PSchedule) -> None:
    assert schedule.at(50.0) == pytest.approx(math.sqrt(8 * 1000))
    assert schedule.at(30.0) / schedule.at(20.0) == pytest.approx(schedule.at(80.0) / schedule.at(70.0))


def test_p_comes_close_to_its_final_value_and_is_then_infinite(schedule: PSchedule) -> None:
    assert schedule.at(90.0 - 1e-6) == pytest.approx(1000, rel=1e-6)
    assert schedule.at(90.0) == schedule.at(90.5) == schedule.at(1e9) == math.inf


def test_lam_moves_over_the_same_stretch_as_p(schedule: PSchedule) -> None:
    schedules = Schedules(p=schedule, lam=(0.1, 0.001), eps=0.3, lr=0.03, objective_lr=0.006, epochs=100)
    assert lam(schedules, 0.0) == lam(schedules, 10.0) == 0.1
    assert lam(schedules, 50.0) == pytest.approx(math.sqrt(0.1 * 0.001))
    assert lam(schedules, 90.0) == lam(schedules, 100.0) == pytest.approx(0.001)
    for t in (0.0, 12.5, 33.0, 89.0):
        share = math.log(schedule.at(t) / 8) / math.log(1000 / 8)
        assert math.log(lam(schedules, t) / 0.1) / math.log(0.001 / 0.1) == pytest.approx(share)


def test_an_objective_that_mixes_nothing_has_no_lam(schedule: PSchedule) -> None:
    schedules = Schedules(p=schedule, lam=None, eps=0.3, lr=0.03, objective_lr=0.006, epochs=100)
    assert [schedules.at(t).lam for t in (0.0, 50.0, 95.0)] == [None, None, None]


def test_a_p_that_does_not_grow_still_becomes_infinite() -> None:
    constant = PSchedule(start=8.0, final=8.0, begin=0.0, end=1.0)
    assert [constant.at(t) for t in (0.0, 0.5, 1.0)] == [8, 8, math.inf]


def test_the_learning_rate_is_half_a_cosine_over_all_epochs() -> None:
    assert cosine_lr(0.03, 0.0, 1300.0) == 0.03
    assert cosine_lr(0.03, 650.0, 1300.0) == pytest.approx(0.015)
    assert cosine_lr(0.03, 1300.0 / 3.0, 1300.0) == pytest.approx(0.0225)
    assert cosine_lr(0.03, 1300.0, 1300.0) == pytest.approx(0, abs=1e-15)


def test_the_schedule_of_a_recipe_takes_every_value_from_it(cifar: Recipe) -> None:
    assert Schedules.of(cifar) == Schedules(
        p=PSchedule(8.0, 1000.0, 100.0, 1250.0), lam=(0.1, 0.0005), eps=24 / 255, lr=0.03, objective_lr=0.006,
        epochs=1300,
    )  # fmt: skip


def test_at_a_moment_each_is_what_its_own_schedule_says(cifar: Recipe) -> None:
    schedules = Schedules.of(cifar)
    for t in (0.0, 0.5, 100.0, 675.5, 1250.0, 1299.9):
        moment = schedules.at(t)
        assert (moment.p, moment.eps) == (schedules.p.at(t), 24 / 255)
        assert moment.lr == cosine_lr(0.03, t, 1300) and moment.objective_lr == cosine_lr(0.006, t, 1300)


@pytest.mark.parametrize(
    ("epoch", "p"),
    [(99, 8), (199, 12.1), (499, 42.7), (699, 98.9), (899, 229), (1149, 654), (1299, math.inf)],
)
def test_p_is_that_of_the_published_cifar_log(cifar: Recipe, epoch: int, p: float) -> None:
    assert float(f"{Schedules.of(cifar).at(float(epoch)).p:.3g}") == p


def test_lam_ends_where_the_paper_says(cifar: Recipe) -> None:
    schedules = Schedules.of(cifar)
    assert lam(schedules, 0.0) == 0.1
    assert lam(schedules, 1250.0) == lam(schedules, 1299.0) == pytest.approx(0.0005)
