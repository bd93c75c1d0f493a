"""A run's curves over its epochs, extended record by record; of a repeated step, the later attempt counts."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from linftui.recipe.schedule import Schedules
from linftui.recipe.schema import Recipe
from linftui.rundir.records import DeviceRecord, EvalRecord, Gpu, Metric, TrainRecord
from linftui.tui.chart.series import Floats, Series

PLANNED_POINTS = 400
GPUS_APART = 2  # with more GPUs than this, their mean and extremes are drawn

# Series by name, and the field of a training record that each shows.
TRAIN = {
    "loss": "loss",
    "p": "p",
    "lam": "lam",
    "at_p": "certified_at_p",  # at the test radius, so that it can be compared with "certified"
}
# Series of evaluations on the test set: with which means, and which fields.
TEST = {
    "certified": ("running", attrgetter("epoch", "certified_accuracy")),
    "clean": ("running", attrgetter("epoch", "clean_accuracy")),
    "certified_reestimated": ("re-estimated", attrgetter("epoch", "certified_accuracy")),
}

_TRAIN_FIELDS = attrgetter("epoch", "time", *TRAIN.values())


class RunCurves:
    """Every curve of a run, x in epochs.

    `series` holds the curves of training by the names in `TRAIN`, and those of the test set at p = inf:
    `certified`, `clean` and, for a copy with re-estimated means, `certified_reestimated`. `devices` holds
    shares in [0, 1] by the device's name.
    """

    def __init__(self) -> None:
        self.series: dict[str, Series] = {name: Series() for name in (*TRAIN, *TEST)}
        self.devices: dict[str, Series] = {}
        self.attempt = 0
        self.clocks: dict[int, Series] = {}  # per attempt: its epochs over time, in seconds since 1970
        self._begins: dict[int, float] = {}  # the epoch at which each attempt began
        self._waiting: deque[DeviceRecord] = deque()  # samples newer than any training record

    def add(self, metrics: Sequence[Metric], devices: Sequence[DeviceRecord]) -> None:
        """Adds the next records of metrics.jsonl and devices.jsonl, in their order."""
        start = 0
        for place, record in enumerate(metrics):  # a stretch is what one attempt wrote
            if record.attempt > self.attempt:
                self._extend(metrics[start:place])
                start = place
                self._enter(record)
        self._extend(metrics[start:])
        self._waiting += devices
        self._place_devices()

    def _enter(self, record: Metric) -> None:
        """A new attempt begins at this record; what earlier ones did from its epoch on no longer counts."""
        self.attempt = record.attempt
        self._begins[record.attempt] = record.epoch
        for series in (*self.series.values(), *self.devices.values()):
            series.truncate(record.epoch)

    def _extend(self, stretch: Sequence[Metric]) -> None:
        own = [record for record in stretch if record.attempt == self.attempt]  # not from an earlier attempt
        train = [record for record in own if isinstance(record, TrainRecord)]
        epochs, times, *columns = _rising(train, _TRAIN_FIELDS, len(TRAIN) + 2, self.series["loss"])
        for name, column in zip(TRAIN, columns, strict=True):
            self.series[name].extend(epochs, column)
        self._extend_clock(times, epochs)
        tests = [record for record in own if isinstance(record, EvalRecord) and record.split == "test"]
        for name, (means, fields) in TEST.items():
            series = self.series[name]
            kept = [record for record in tests if record.means == means]
            series.extend(*_rising(kept, fields, 2, series))

    def _extend_clock(self, times: Floats, epochs: Floats) -> None:
        if not len(times):
            return  # only evaluations; a clock that exists is never empty
        clock = self.clocks.setdefault(self.attempt, Series())
        start = clock.x[-1] if len(clock) else -np.inf
        clock.extend(np.maximum.accumulate(np.maximum(np.nan_to_num(times), start)), epochs)

    def _place_devices(self) -> None:
        """Adds the samples that are older than the latest training record; the others wait in their order."""
        ready: list[DeviceRecord] = []
        while self._waiting:
            sample = self._waiting[0]
            clock = self.clocks.get(sample.attempt)
            if clock is not None and sample.time <= clock.x[-1]:
                ready.append(sample)
            elif sample.attempt >= self.attempt and math.isfinite(sample.time):
                break
            self._waiting.popleft()
        for attempt, samples in groupby(ready, key=attrgetter("attempt")):
            self._add_samples(attempt, list(samples))

    def _add_samples(self, attempt: int, samples: list[DeviceRecord]) -> None:
        clock = self.clocks[attempt]
        epochs = np.interp([sample.time for sample in samples], clock.x, clock.y)
        end = min((begin for later, begin in self._begins.items() if later > attempt), default=math.inf)
        shares = [device_shares(sample) for sample in samples]
        for name in dict.fromkeys(name for share in shares for name in share):
            series = self.devices.setdefault(name, Series())
            table = np.array([epochs, [share.get(name, math.nan) for share in shares]])
            series.extend(*table[:, _goes_on(epochs, series) & (epochs < end)])


def device_shares(record: DeviceRecord) -> dict[str, float]:
    """A sample as shares in [0, 1] by name; NaN where a device reported nothing."""
    shares: dict[str, float] = {}
    if len(record.gpus) > GPUS_APART:
        used = [_or_nan(gpu.utilisation) for gpu in record.gpus]
        full = [_memory(gpu) for gpu in record.gpus]
        shares = {
            "gpus, mean": float(np.mean(used)),
            "gpus, least": float(np.min(used)),
            "mem, most": float(np.max(full)),
        }
    else:
        for gpu in record.gpus:
            number = f" {gpu.index}" if len(record.gpus) > 1 else ""
            shares[f"gpu{number}"] = _or_nan(gpu.utilisation)
            shares[f"mem{number}"] = _memory(gpu)
    shares["cpu"] = record.cpu
    if not record.gpus:
        shares["mem"] = record.memory_used / max(record.memory_total, 1)
    return shares


def _memory(gpu: Gpu) -> float:
    if gpu.memory_used is None or not gpu.memory_total:
        return float("nan")
    return gpu.memory_used / gpu.memory_total


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _rising(
    records: Sequence[Metric], fields: Callable[[Metric], Any], width: int, series: Series
) -> list[Floats]:
    """The `width` fields of the records, an array each, epochs first, without records whose epoch falls."""
    table = np.array(list(map(fields, records)), np.float64).reshape(-1, width)
    return list(table[_goes_on(table[:, 0], series)].T)


def _goes_on(epochs: Floats, series: Series) -> npt.NDArray[np.bool_]:
    """Which epochs do not fall below the series' end or each other; in a damaged file some do."""
    known = np.where(np.isfinite(epochs), epochs, -np.inf)
    end = series.x[-1] if len(series) else 0.0
    goes_on: npt.NDArray[np.bool_] = known >= np.maximum.accumulate(np.append(end, known))[:-1]
    return goes_on


def planned(recipe: Recipe) -> dict[str, Series]:
    """The planned curves of a recipe over all its epochs: `p` and `lam`."""
    schedules = Schedules.of(recipe)
    epochs = np.linspace(0.0, recipe.epochs, PLANNED_POINTS)
    corners = [t for t in (schedules.p.begin, schedules.p.end) if 0.0 < t < recipe.epochs]
    epochs = np.sort(np.append(epochs, corners))
    moments = list(map(schedules.at, epochs))
    curves = {"p": Series(), "lam": Series()}
    curves["p"].extend(epochs, [moment.p for moment in moments])
    if schedules.lam is not None:
        curves["lam"].extend(epochs, np.array([moment.lam for moment in moments], np.float64))
    return curves
