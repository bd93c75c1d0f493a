"""A run's curves: which records count, where devices are placed in time, what is planned."""

import math
from typing import Any

import pytest
from msgspec import structs

from linftui.recipe.load import parse_recipe
from linftui.recipe.schedule import Schedules
from linftui.rundir.records import DeviceRecord, EvalRecord, Gpu, TrainRecord
from linftui.tui.live.run_curves import RunCurves, device_shares, planned

TRAIN = TrainRecord(
    attempt=1, step=10, epoch=1.0, time=100.0, loss=0.5, accuracy=0.6, certified_at_p=0.4,
    certified_at_p_train_eps=0.1, p=8.0, lam=0.1, eps=0.3, lr=0.03, scalar=1.0, images_per_s=1000.0,
)  # fmt: skip
EVAL = EvalRecord(
    attempt=1, step=10, epoch=1.0, time=100.0, split="test", n=100, clean_accuracy=0.5,
    certified_accuracy=0.2, eps=0.1, means="running", seconds=1.0,
)  # fmt: skip
DEVICES = DeviceRecord(
    attempt=1, time=100.0, cpu=0.5, memory_used=1, memory_total=4, run_cpu=1.0, run_memory=1, gpus=[]
)


def train(epoch: float, **values: Any) -> TrainRecord:
    """A record at an epoch that takes ten steps and a hundred seconds."""
    return structs.replace(TRAIN, **{"epoch": epoch, "step": int(epoch * 10), "time": epoch * 100, **values})


def test_each_quantity_has_its_curve() -> None:
    curves = RunCurves()
    curves.add(
        [
            train(1.0), EVAL, structs.replace(EVAL, means="re-estimated", certified_accuracy=0.3),
            structs.replace(EVAL, split="holdout", certified_accuracy=0.9), train(2.0, p=math.inf, loss=0.4),
        ],
        [],
    )  # fmt: skip
    last = {name: series.y[-1] for name, series in curves.series.items()}
    assert last == {
        "loss": 0.4, "p": math.inf, "lam": 0.1, "at_p": 0.4,
        "certified": 0.2, "clean": 0.5, "certified_reestimated": 0.3,
    }  # fmt: skip
    assert curves.series["loss"].x.tolist() == [1.0, 2.0] and len(curves.series["certified"]) == 1


def test_a_later_attempt_replaces_what_it_does_again() -> None:
    curves = RunCurves()
    curves.add([train(1.0), train(2.0), train(3.0), structs.replace(EVAL, epoch=3.0)], [])
    curves.add([train(2.0, attempt=2, loss=0.9), train(3.0, loss=0.1), train(4.0, attempt=2, loss=0.8)], [])
    assert curves.series["loss"].x.tolist() == [1.0, 2.0, 4.0]
    assert curves.series["loss"].y.tolist() == [0.5, 0.9, 0.8]  # and not the 0.1 of the attempt given up
    assert len(curves.series["certified"]) == 0


def test_attempts_within_one_bunch_are_told_apart() -> None:
    curves = RunCurves()
    curves.add([train(1.0), train(2.0), train(1.5, attempt=2), train(1.0, attempt=3, loss=0.7)], [])
    assert curves.series["loss"].x.tolist() == [1.0] and curves.series["loss"].y.tolist() == [0.7]


@pytest.mark.parametrize("epoch", [math.nan, math.inf, -math.inf, -1.0, 0.5])
def test_what_does_not_go_on_is_left_out(epoch: float) -> None:
    curves = RunCurves()
    curves.add([train(1.0), structs.replace(TRAIN, epoch=epoch, time=math.nan), train(2.0)], [])
    assert curves.series["loss"].x.tolist() == [1.0, 2.0]
    assert curves.clocks[1].x.tolist() == [100.0, 200.0]


def test_devices_are_placed_by_the_clock_of_their_attempt() -> None:
    curves = RunCurves()
    curves.add(
        [train(1.0), train(2.0)], [structs.replace(DEVICES, time=time) for time in (50, 150, 175, 250)]
    )
    assert curves.devices["cpu"].x.tolist() == [1.0, 1.5, 1.75]  # that at 250 waits for a record beyond it
    curves.add([train(3.0)], [])
    assert curves.devices["cpu"].x.tolist() == [1.0, 1.5, 1.75, 2.5]


def test_devices_of_an_attempt_that_was_gone_back_on_are_left_out() -> None:
    curves = RunCurves()
    curves.add([train(1.0), train(2.0), train(3.0)], [structs.replace(DEVICES, time=250.0)])
    again = [train(1.5, attempt=2, time=1000.0), train(2.5, attempt=2, time=1100.0)]
    late = [structs.replace(DEVICES, time=120.0), structs.replace(DEVICES, time=260.0)]
    curves.add(again, [*late, structs.replace(DEVICES, attempt=2, time=1050.0)])
    assert curves.devices["cpu"].x.tolist() == [1.2, 2.0]


def test_many_gpus_are_summed_up() -> None:
    gpus = [
        Gpu(index=n, uuid=f"GPU-{n}", name="", memory_total=100, memory_used=10 * n, utilisation=0.2 * n)
        for n in range(4)
    ]
    few = device_shares(structs.replace(DEVICES, gpus=gpus[:2]))
    assert few == {"gpu 0": 0.0, "mem 0": 0.0, "gpu 1": 0.2, "mem 1": 0.1, "cpu": 0.5}
    many = device_shares(structs.replace(DEVICES, gpus=gpus))
    assert many["gpus, mean"] == pytest.approx(0.3) and many["gpus, least"] == 0 and many["mem, most"] == 0.3
    assert device_shares(DEVICES) == {"cpu": 0.5, "mem": 0.25}
    silent = device_shares(structs.replace(DEVICES, gpus=[Gpu(index=0, uuid="GPU-0", name="")]))
    assert math.isnan(silent["gpu"]) and math.isnan(silent["mem"])


def test_the_plan_is_the_schedule() -> None:
    text = "name: x\nepochs: 10\nbatch_size: 1\ndata: {dataset: digits}\nmodel: {width: 1, depth: 1}\n"
    text += "eps: {train: 0.3, test: 0.1}\np: {begin_epoch: 2, end_epoch: 7}\n"
    recipe = parse_recipe(text + "objective: {lam: {start: 0.1, end: 0.001}}\n", "x").recipe
    schedules, curves = Schedules.of(recipe), planned(recipe)
    for epoch in (0.0, 2.0, 7.0, 10.0):  # its ends and its corners, exactly
        moment = schedules.at(epoch)
        assert (curves["p"].at(epoch), curves["lam"].at(epoch)) == (moment.p, moment.lam)
    assert curves["p"].has_infinity and math.isfinite(curves["p"].at(6.99) or math.inf)


def test_an_attempt_that_begins_with_an_evaluation_has_no_clock_yet() -> None:
    curves = RunCurves()
    curves.add([train(1.0)], [])
    sample = structs.replace(DEVICES, attempt=2, time=1000.0)
    curves.add([structs.replace(EVAL, attempt=2, epoch=1.0, time=1000.0)], [sample])
    assert curves.devices == {}
    curves.add([train(2.0, attempt=2, time=1100.0)], [])
    assert curves.devices["cpu"].x.tolist() == [2.0]


def test_samples_of_no_attempt_are_left_out() -> None:
    curves = RunCurves()
    curves.add([], [structs.replace(DEVICES, attempt=0)])
    curves.add([train(1.0)], [structs.replace(DEVICES, attempt=0), DEVICES])
    assert curves.devices["cpu"].x.tolist() == [1.0]
