"""The pace of late, from the end of the metrics alone: of this attempt, and of nothing that is no number."""

from pathlib import Path

import pytest
from msgspec import structs

from linftui.bench.runs import train_record
from linftui.rundir.pace import LEAST, Pace, read_pace
from linftui.rundir.records import EvalRecord, Record, TrainRecord, encode

BEGIN = train_record(1, 100, 1000.0)
EVALUATION = EvalRecord(
    attempt=2, step=9, epoch=99.0, time=1e9, split="test", n=360, clean_accuracy=0.5, certified_accuracy=0.5,
    eps=0.1, means="running", seconds=0.1,
)  # fmt: skip


def at(moment: float, epoch: float, attempt: int = 2) -> TrainRecord:
    return structs.replace(BEGIN, attempt=attempt, time=moment, epoch=epoch)


def written(folder: Path, *records: Record) -> Path:
    metrics = folder / "metrics.jsonl"
    metrics.write_bytes(b"".join(encode(record) + b"\n" for record in records))
    return metrics


def test_it_is_that_of_this_attempt(tmp_path: Path) -> None:
    metrics = written(
        tmp_path,
        at(0.0, 1.0, 1),
        at(10.0, 2.0, 1),
        at(1000.0, 1.5),
        EVALUATION,
        at(1030.0, 2.0),
        at(1040.0, 2.5),
    )
    assert read_pace(metrics, 2) == Pace(40.0, 2.5, 1040.0)
    assert read_pace(metrics, 1) == Pace(10.0, 2.0, 10.0) and read_pace(metrics, 3) is None


def test_it_is_that_of_late(tmp_path: Path) -> None:
    slow = [at(100.0 * n, float(n)) for n in range(1000)]  # of which the last quarter has none
    fast = [at(100_000.0 + n, 1000.0 + n) for n in range(1000)]
    metrics = written(tmp_path, *slow, *fast)
    assert metrics.stat().st_size > 4 * LEAST
    assert read_pace(metrics, 2) == Pace(1.0, 1999.0, 100_999.0)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [at(0.0, 1.0)],
        [at(0.0, 1.0), at(0.0, 2.0)],  # in no time
        [at(0.0, 1.0), at(9.0, 1.0)],
        [at(9.0, 1.0), at(0.0, 2.0)],  # somebody has set the clock
        [at(0.0, 1.0), at(float("inf"), 2.0)],
        [at(0.0, 1.0), at(9.0, float("nan"))],
    ],
)
def test_without_two_records_that_tell_there_is_none(tmp_path: Path, records: list[TrainRecord]) -> None:
    assert read_pace(written(tmp_path, *records), 2) is None
    assert read_pace(tmp_path / "nothing", 2) is None


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    metrics = written(tmp_path, at(0.0, 1.0), at(30.0, 2.0))
    metrics.write_bytes(b"\xff{\n" + metrics.read_bytes() + b"[1]\n" + encode(at(99.0, 9.0)))  # unfinished
    assert read_pace(metrics, 2) == Pace(30.0, 2.0, 30.0)


def test_it_tells_how_long_it_takes_until_then() -> None:
    pace = Pace(seconds_per_epoch=40.0, epoch=2.5, time=1040.0)
    assert pace.seconds_until(10.0, 1040.0) == 300.0
    assert pace.seconds_until(10.0, 1100.0) == 240.0
    assert pace.seconds_until(10.0, 900.0) == 300.0  # by a clock that is behind
    assert pace.seconds_until(2.0, 1040.0) == pace.seconds_until(10.0, 9999.0) == 0.0
