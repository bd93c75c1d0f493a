"""The newest records, from a file's end."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_all
from linftui.rundir.records import (
    DeviceRecord,
    EvalRecord,
    EventRecord,
    Metric,
    TrainRecord,
    encode,
)
from linftui.rundir.tail import last_metrics


def train(step: int, attempt: int = 1, loss: float = 0.5) -> TrainRecord:
    return TrainRecord(
        attempt=attempt, step=step, epoch=step / 12, time=0.0, loss=loss, accuracy=0.1, certified_at_p=0.05,
        certified_at_p_train_eps=0.0, p=8.0, lam=0.1, eps=0.3, lr=0.03, scalar=1.0, images_per_s=1e4,
    )  # fmt: skip


def evaluation(step: int, attempt: int = 1, means: str = "running", split: str = "test") -> EvalRecord:
    return EvalRecord(
        attempt=attempt, step=step, epoch=step / 12, time=0.0, split="test" if split == "test" else "holdout",
        n=360, clean_accuracy=0.9, certified_accuracy=0.8, eps=0.1,
        means="running" if means == "running" else "re-estimated", seconds=0.01,
    )  # fmt: skip


def lines(records: Iterable[Metric | EventRecord | DeviceRecord]) -> bytes:
    return b"".join(encode(record) + b"\n" for record in records)


def newest(records: Iterable[Metric]) -> tuple[TrainRecord | None, EvalRecord | None]:
    """What `last_metrics` looks for, by reading everything."""
    trained: TrainRecord | None = None
    evaluated: EvalRecord | None = None
    for record in records:
        if isinstance(record, TrainRecord):
            trained = record
        elif record.split == "test" and record.means == "running":
            evaluated = record
    return trained, evaluated


class TestLastMetrics:
    # The train records of one file take 20 bytes to 600 KB, which is one to three bites from the end.
    @pytest.mark.parametrize("after", [0, 1, 30, 50, 400, 2000])
    @pytest.mark.parametrize("before", [0, 1, 40, 300])
    @pytest.mark.parametrize("tail", [b"", b'{"kind":"train","v":1,"att', b"\xff\xff"])
    def test_the_end_of_the_file_says_what_a_full_read_says(
        self, tmp_path: Path, before: int, after: int, tail: bytes
    ) -> None:
        paths = RunPaths(tmp_path)
        records = [train(step) for step in range(before)]
        others = [
            evaluation(before),
            evaluation(before, means="re-estimated"),
            evaluation(before, split="holdout"),
        ]
        later = [train(step) for step in range(before, before + after)]
        paths.metrics.write_bytes(lines([*records, *others]) + b"bad\n" + lines(later) + tail)
        assert last_metrics(paths.metrics) == newest(read_all(paths)) == newest([*records, *others, *later])

    def test_a_finished_run_stands_at_its_end_whatever_an_attempt_that_was_given_up_wrote_after_it(
        self, tmp_path: Path
    ) -> None:
        paths = RunPaths(tmp_path)
        whole = [*(train(step) for step in range(1, 49)), evaluation(48)]
        given_up = [train(step, attempt=2) for step in range(25, 30)]
        paths.metrics.write_bytes(lines([*whole, *given_up]))
        assert last_metrics(paths.metrics, furthest=True) == (train(48), evaluation(48))

    def test_an_evaluation_of_a_later_step_of_another_attempt_is_not_the_current_one(
        self, tmp_path: Path
    ) -> None:
        paths = RunPaths(tmp_path)
        records = [train(12), evaluation(12), train(24), evaluation(24), train(18, attempt=2)]
        paths.metrics.write_bytes(lines(records))
        assert last_metrics(paths.metrics) == (train(18, attempt=2), evaluation(12))

    def test_every_torn_end_of_a_short_file_says_what_a_full_read_says(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        whole = lines([train(5), evaluation(12), train(15)])
        for end in range(len(whole) + 1):
            paths.metrics.write_bytes(whole[:end])
            assert last_metrics(paths.metrics) == newest(read_all(paths))

    def test_it_gives_up_at_its_limit(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        paths.metrics.write_bytes(lines([evaluation(0)]) + lines(train(step) for step in range(200)))
        assert last_metrics(paths.metrics, limit=1 << 14) == (train(199), None)

    def test_a_file_that_is_not_there_has_none(self, tmp_path: Path) -> None:
        assert last_metrics(tmp_path / "metrics.jsonl") == (None, None)
