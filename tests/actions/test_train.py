"""Training a recipe: a check refuses what would fail later, and says what a person should know before."""

from pathlib import Path

import pytest

from linftui.actions.train import TrainRequest, begin, check
from linftui.devices import snapshot
from linftui.errors import DataError, LinftuiError
from linftui.rundir.store import RunStore


def test_a_run_without_its_data_is_not_begun(tmp_path: Path) -> None:
    said, store = list[str](), RunStore(tmp_path / "runs")
    plan = check(store, TrainRequest("mnist-small", (f"data.root={tmp_path}",), "cpu"), snapshot())
    with pytest.raises(DataError):
        begin(store, plan, said.append)
    assert said == ["checking mnist"] and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "request_",
    [
        TrainRequest("nowhere"),
        TrainRequest("digits", ("a",)),
        TrainRequest("digits", (), "gpu:99"),
        TrainRequest("digits", name="tiny-run"),
        TrainRequest("digits", name="../x"),
        TrainRequest("digits", name=""),
    ],
)
def test_a_check_refuses_what_could_not_begin(runs: Path, request_: TrainRequest) -> None:
    store = RunStore(runs)
    with pytest.raises(LinftuiError):
        check(store, request_, snapshot())
    plan = check(store, TrainRequest("digits", ("seed=5",), "cpu", threads=3), snapshot())
    assert (plan.loaded.recipe.seed, plan.launch.threads, plan.warnings) == (5, 3, ())


def test_cautions_of_the_recipe_and_of_the_system_are_told_before(
    tmp_path: Path, ends_at_logout: str
) -> None:
    plan = check(
        RunStore(tmp_path / "runs"), TrainRequest("digits", ("epochs=95", "p.end_epoch=99")), snapshot()
    )
    caution, warning = plan.warnings
    assert "p.end_epoch (99) lies beyond epochs (95)" in caution and warning == ends_at_logout
