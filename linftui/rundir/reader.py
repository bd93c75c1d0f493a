"""Reading a run directory while it grows: in bounded bites, nothing twice; damage is counted, not fatal."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from linftui.errors import RunDirectoryError
from linftui.files import open_regular
from linftui.rundir.paths import CHECKPOINT_NAME, CheckpointPaths, RunPaths
from linftui.rundir.records import DeviceRecord, EvalRecord, EventRecord, Metric, TrainRecord, decoder

T = TypeVar("T")

CHUNK = 1 << 20
MAX_LINE = 1 << 16
MAX_RECORD = 1 << 24
# A sparse file can hold terabytes of holes, and not every file system reports correctly where they are. So
# the length of a line is bounded; a crash leaves a hole of a few MiB at most.
MAX_SKIPPED = 1 << 26
BITE = 1 << 14  # from the end of a file, where the newest lines are


class LineFollower(Generic[T]):
    """Decodes the lines appended to a file since the last poll.

    An unterminated last line does not count yet; a line that does not decode, or is longer than 64 KiB,
    is counted in `bad_lines` and left out. A line of more than 64 MiB ends the following: the file is not a
    log. A file that has replaced the one followed, or is shorter than what was read of it, is read from its
    beginning; `restarts` counts how often.
    """

    def __init__(self, path: Path, decode: Callable[[bytes], T]) -> None:
        self._path = path
        self._decode = decode
        self._tail = b""
        self._skipped = 0  # bytes of the current line, which is too long
        self._file: tuple[int, int] | None = None  # which file it was at the last poll: device and inode
        self.offset = 0
        self.bad_lines = 0
        self.restarts = 0

    def poll(self, max_bytes: int = CHUNK) -> list[T]:
        """The new records within the next `max_bytes` of the file; an empty list where there are none.

        Raises:
            RunDirectoryError: the file cannot be read, or cannot be read any further.
        """
        try:
            with open_regular(self._path) as file:
                self._recognise(os.fstat(file.fileno()))
                if self._skipped > MAX_SKIPPED:
                    raise RunDirectoryError(
                        f"{self._path}: cannot be read any further: one of its lines is longer than "
                        f"{MAX_SKIPPED >> 20} MiB",
                        "move the file away: a resume starts a new one",
                    )
                file.seek(self.offset)
                data = file.read(max_bytes)
        except FileNotFoundError:
            self._file = None  # a later one may be given the same inode
            return []
        except OSError as error:
            raise RunDirectoryError(f"{self._path}: cannot be read: {error.strerror or error}") from error
        self.offset += len(data)
        *lines, self._tail = (self._tail + data).split(b"\n")
        if self._skipped and lines:
            lines, self._skipped = lines[1:], 0
        if len(self._tail) > MAX_LINE:
            self.bad_lines += not self._skipped
            self._skipped += len(self._tail)
            self._tail = b""
        return [record for line in lines if line for record in self._record(line)]

    def _recognise(self, status: os.stat_result) -> None:
        """Goes back to the beginning where this is not the file read so far."""
        file = (status.st_dev, status.st_ino)
        if self.offset and (file != self._file or status.st_size < self.offset):
            self._tail, self._skipped, self.offset, self.bad_lines = b"", 0, 0, 0
            self.restarts += 1
        self._file = file

    def drain(self) -> Iterator[T]:
        """Everything new, in as many bites as it takes, one held at a time."""
        before = -1
        while before != self.offset:
            before = self.offset
            yield from self.poll()

    def _record(self, line: bytes) -> Iterable[T]:
        try:
            if len(line) > MAX_LINE:  # as it would be if it came in smaller bites
                raise msgspec.DecodeError("too long for a record")
            yield self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.bad_lines += 1


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


def last_metrics(
    path: Path, limit: int = CHUNK, *, furthest: bool = False
) -> tuple[TrainRecord | None, EvalRecord | None]:
    """The newest training record and its newest evaluation on the test set, read from the file's end.

    Reads at most about `limit` bytes, so that a listing of many long runs stays quick. With `furthest` it is
    the record of the highest step, not the last one: a finished run is at its end, even if an abandoned
    attempt wrote after that.
    """
    train: TrainRecord | None = None
    evaluations: list[EvalRecord] = []
    for record in _newest_first(path, limit):
        if isinstance(record, EvalRecord):
            if record.counts:
                evaluations.append(record)
        elif train is None or (furthest and record.step > train.step):
            train = record
        if not furthest and train is not None and (own := _evaluation_of(train, evaluations)) is not None:
            return train, own
    return train, _evaluation_of(train, evaluations)


_DECODE_METRIC = decoder(Metric)


def _newest_first(path: Path, limit: int) -> Iterator[Metric]:
    """The records within `limit` bytes of a file's end, the last first; none where it cannot be read."""
    try:
        with open_regular(path) as file:
            for line in _lines_from_the_end(file, limit):
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                    yield _DECODE_METRIC(line)
    except OSError:
        return


def _lines_from_the_end(file: BufferedReader, limit: int) -> Iterator[bytes]:
    """The whole lines within `limit` bytes of the end, the last first; a torn last one does not count yet."""
    end = file.seek(0, os.SEEK_END)
    floor, terminated, later = max(0, end - limit), False, b""
    while end > floor:
        start = max(floor, end - BITE)
        file.seek(start)
        first, *lines = (file.read(end - start) + later).split(b"\n")
        if lines and not terminated:
            lines.pop()
            terminated = True
        yield from reversed(lines)
        end, later = start, first  # whose beginning comes with the next bite
    if end == 0 and terminated:
        yield later


def _evaluation_of(train: TrainRecord | None, newest_first: list[EvalRecord]) -> EvalRecord | None:
    """The newest evaluation that is not of a later step of an attempt that `train` does not belong to."""
    own = (e for e in newest_first if train is None or e.attempt == train.attempt or e.step <= train.step)
    return next(own, None)


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


def all_checkpoints(paths: RunPaths) -> list[CheckpointPaths]:
    """The run's checkpoint folders, by step, half-written ones included."""
    named = [path for path in paths.checkpoints.glob("step-*") if CHECKPOINT_NAME.fullmatch(path.name)]
    found = [CheckpointPaths(path) for path in named if not path.is_symlink()]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def complete_checkpoints(paths: RunPaths) -> list[CheckpointPaths]:
    """The run's complete checkpoints, by step; whether they are intact is known once they are loaded."""
    return [checkpoint for checkpoint in all_checkpoints(paths) if checkpoint.complete.is_file()]
