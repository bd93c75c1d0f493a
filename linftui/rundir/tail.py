"""The newest records of a file of metrics, read from its end."""

import contextlib
import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import msgspec

from linftui.files import open_regular
from linftui.rundir.follow import CHUNK
from linftui.rundir.records import EvalRecord, Metric, TrainRecord, decoder

BITE = 1 << 14  # from the end of a file, where the newest lines are


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
