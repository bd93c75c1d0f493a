"""The machine at a glance: GPUs with the run that holds each, or the processor."""

from pathlib import Path

import pytest

from linftui.devices import DeviceSnapshot, Gpu
from linftui.rundir.store import RunSummary
from linftui.tui.live.run_list import RunRow
from linftui.tui.screens.runs import holders
from linftui.tui.widgets.device_strip import LINES_AT_MOST, DeviceStrip

GIB = 2**30


def machine(*gpus: Gpu) -> DeviceSnapshot:
    """A machine with these GPUs."""
    return DeviceSnapshot(
        cores=8, memory_total=16 * GIB, memory_available=12 * GIB, gpus=gpus, gpu_problem="", cpu=0.25
    )


def gpu(index: int, **values: float | str) -> Gpu:
    """A busy GPU."""
    known = {"memory_total": 80 * GIB, "memory_used": 61 * GIB, "utilisation": 0.87, "power": 412.0, **values}
    return Gpu(index=index, uuid=f"GPU-{index}", name="NVIDIA [b]H200", temperature=68.0, **known)


def lines(machine: DeviceSnapshot | None, holders: dict[str, str], width: int = 100) -> list[str]:
    """The strip's lines as text."""
    strip = DeviceStrip()
    strip._machine, strip._holders = machine, holders
    return [line.plain.rstrip() for line in strip.make_lines(width, 4)]


def test_a_gpu_is_shown_with_the_run_that_holds_it() -> None:
    [held, free] = lines(machine(gpu(0), gpu(1)), {"GPU-0": "cifar-a41f"})
    assert held == "gpu 0 ━━━━━━━─  87%  ━━━━━━── 61G/80G  412W 68°C  cifar-a41f"
    assert free.endswith("68°C  NVIDIA [b]H200")


def test_many_gpus_do_not_push_the_runs_away() -> None:
    shown = lines(machine(*map(gpu, range(16))), {})
    assert len(shown) == LINES_AT_MOST and shown[-1] == "and 13 more"
    assert len(lines(machine(*map(gpu, range(8))), {}, width=160)) == LINES_AT_MOST


def test_without_a_gpu_there_is_the_processor() -> None:
    [line] = lines(machine(), {})
    assert line == "cpu ━━╸───────  25% of 8 cores   memory ━━╸─────── 4.0G of 16G   no GPU"


def test_what_a_device_does_not_say_is_not_made_up() -> None:
    silent = Gpu(index=0, uuid="GPU-0", name="old", problem="")
    assert lines(machine(silent), {}) == ["gpu 0 ────────   -   ──────── -/-  old"]
    lost = Gpu(index=1, uuid="GPU-1", name="", problem="fallen off\x1b the bus")
    assert lines(machine(lost), {}) == ["gpu 1 fallen off\ufffd the bus"]


@pytest.mark.parametrize("state", ["running", "finished"])
def test_only_runs_that_go_on_hold_devices(state: str) -> None:
    summary = RunSummary(
        id="a", state=state, recipe=None, epoch=None, epochs=None, step=None, p=None, lam=None, loss=None,
        clean_accuracy=None, certified_accuracy=None, eps=None, eps_exact=None, attempt=1, created=None,
        path=str(Path("runs/a")),
    )  # fmt: skip
    held = holders([RunRow(summary, ("GPU-0", "GPU-1"), None), RunRow(summary, ("cpu",), None)])
    assert held == ({"GPU-0": "a", "GPU-1": "a"} if state == "running" else {})
