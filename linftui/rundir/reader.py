"""The records of a run directory: the files that grow, followed together, and the small ones."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from linftui.errors import RunDirectoryError
from linftui.files import open_regular
from linftui.rundir.follow import LineFollower
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import DeviceRecord, EventRecord, Metric, TrainRecord, decoder

T = TypeVar("T")

MAX_RECORD = 1 << 24


class RunReader:
    """Follows one run's metrics, events and devices."""

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self._metrics: LineFollower[Metric] = LineFollower(paths.metrics, decoder(Metric))
        self._events: LineFollower[EventRecord] = LineFollower(paths.events, decoder(EventRecord))
        self._devices: LineFollower[DeviceRecord] = LineFollower(paths.devices, decoder(DeviceRecord))

    @property
    def bad_lines(self) -> int:
        return self._metrics.bad_lines + self._events.bad_lines + self._devices.bad_lines

    def each_metric(self) -> Iterator[Metric]:
        """Metrics appended since the last call, read as they are asked for, so that few are held at once."""
        return self._metrics.drain()

    def each_event(self) -> Iterator[EventRecord]:
        """Events appended since the last call, likewise."""
        return self._events.drain()

    def metrics(self, max_bytes: int | None = None) -> list[Metric]:
        """All of them in a list; within the next `max_bytes` of the file only, where that is given."""
        return list(self._metrics.drain()) if max_bytes is None else self._metrics.poll(max_bytes)

    def events(self, max_bytes: int | None = None) -> list[EventRecord]:
        """Events appended since the last call, likewise."""
        return list(self._events.drain()) if max_bytes is None else self._events.poll(max_bytes)

    def devices(self, max_bytes: int | None = None) -> list[DeviceRecord]:
        """Device samples appended since the last call, likewise."""
        return list(self._devices.drain()) if max_bytes is None else self._devices.poll(max_bytes)


def unreadable_lines(paths: RunPaths) -> int:
    """How many lines of a run's metrics and events cannot be read.

    Raises:
        RunDirectoryError: one of the files cannot be read at all.
    """
    reader = RunReader(paths)
    for records in (reader.each_metric(), reader.each_event()):
        deque(records, maxlen=0)  # reads all and keeps none
    return reader.bad_lines


def read_all(paths: RunPaths) -> list[Metric]:
    """Every metric of a run, in the order written."""
    return RunReader(paths).metrics()


def latest_by_step(records: Iterable[Metric]) -> list[Metric]:
    """The curve a person sees: where a step was done twice, the later attempt's record."""
    latest: dict[tuple[Any, ...], Metric] = {}
    for record in records:
        key = (
            (record.step, "train")
            if isinstance(record, TrainRecord)
            else (record.step, record.split, record.means)
        )
        if key not in latest or record.attempt >= latest[key].attempt:
            latest[key] = record
    return sorted(latest.values(), key=lambda record: record.step)


def read_record(path: Path, kind: type[T]) -> T | None:
    """A small record file, or None where it is absent. Raises RunDirectoryError where it is damaged."""
    try:
        with open_regular(path) as file:
            # Exactly that much, since a read allocates as much memory as it is asked for.
            data = file.read(min(os.fstat(file.fileno()).st_size, MAX_RECORD))
        record: T = decoder(kind)(data)
        return record
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        derived = path.name in ("state.json", "exit.json")
        hint = "it can be deleted: the run then goes on from its checkpoints" if derived else ""
        raise RunDirectoryError(f"{path}: cannot be read: {reason}", hint) from error
