"""How fast a run has been training lately: the one estimate of when it reaches a given epoch."""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from linftui.files import open_regular
from linftui.rundir.follow import CHUNK
from linftui.rundir.records import Metric, TrainRecord, decoder

# The pace is measured over the last quarter of the metrics, within bounds: about 100 to 3,500 records.
LEAST = 1 << 15


@dataclass(frozen=True)
class Pace:
    """Seconds per epoch, evaluations included; the epochs done at the last record, and its time."""

    seconds_per_epoch: float
    epoch: float
    time: float  # seconds since 1970

    def seconds_until(self, epoch: float, now: float) -> float:
        """Seconds from `now`, a moment in seconds since 1970, until this many epochs are done."""
        return max(0.0, self.seconds_per_epoch * (epoch - self.epoch) - max(0.0, now - self.time))


def read_pace(metrics: Path, attempt: int) -> Pace | None:
    """The pace of an attempt, or None until two of its records show one.

    Args:
        metrics: the run's metrics.jsonl.
        attempt: the current one, since another may have run on another machine.
    """
    try:
        with open_regular(metrics) as file:
            size = file.seek(0, os.SEEK_END)
            window = min(max(size // 4, LEAST), CHUNK)
            file.seek(max(0, size - window))
            lines = file.read(window).split(b"\n")[1 if size > window else 0 : -1]
    except OSError:
        return None
    first = next(_of_attempt(lines, attempt), None)
    last = next(_of_attempt(reversed(lines), attempt), None)
    if first is None or last is None or not (last.epoch > first.epoch and last.time > first.time):
        return None
    return Pace((last.time - first.time) / (last.epoch - first.epoch), last.epoch, last.time)


_DECODE_METRIC = decoder(Metric)


def _of_attempt(lines: Iterable[bytes], attempt: int) -> Iterator[TrainRecord]:
    for line in lines:
        try:
            record = _DECODE_METRIC(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if isinstance(record, TrainRecord) and record.attempt == attempt:
            if math.isfinite(record.epoch) and math.isfinite(record.time):
                yield record
