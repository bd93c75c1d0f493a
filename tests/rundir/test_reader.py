"""Reading a run: its growing files together, its small records, and the curve of several attempts."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from linftui.errors import RunDirectoryError
from linftui.rundir.checkpoints import complete_checkpoints
from linftui.rundir.follow import CHUNK
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, latest_by_step, read_all, read_record, unreadable_lines
from linftui.rundir.records import (
    DeviceRecord,
    EvalRecord,
    EventRecord,
    ExitRecord,
    Gpu,
    GpuProcess,
    Metric,
    StopRequest,
    TrainRecord,
    encode,
)


def event(step: int, message: str = "") -> EventRecord:
    return EventRecord(attempt=1, step=step, time=0.0, event="warning", message=message)


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


def devices(attempt: int) -> DeviceRecord:
    gpu = Gpu(
        index=1, uuid="GPU-1", name="H100", memory_total=80 << 30, utilisation=0.97, power=412.5,
        processes=[GpuProcess(pid=7, memory=None)], problem="Insufficient Permissions (temperature)",
    )  # fmt: skip
    return DeviceRecord(
        attempt=attempt, time=0.0, cpu=0.5, memory_used=1 << 30, memory_total=8 << 30, run_cpu=1.5,
        run_memory=1 << 29, gpus=[gpu, Gpu(index=-1, uuid="GPU-2", name="", problem="it is gone")],
    )  # fmt: skip


def lines(records: Iterable[Metric | EventRecord | DeviceRecord]) -> bytes:
    return b"".join(encode(record) + b"\n" for record in records)


class TestRunReader:
    def test_it_follows_metrics_and_events_side_by_side(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        reader = RunReader(paths)
        assert (reader.metrics(), reader.events()) == ([], [])
        paths.metrics.write_bytes(lines([train(5), evaluation(12)]) + b"bad\n")
        paths.events.write_bytes(lines([event(0)]) + b"bad\n")
        assert (reader.metrics(), reader.events()) == ([train(5), evaluation(12)], [event(0)])
        assert (reader.metrics(), reader.events()) == ([], [])
        assert reader.bad_lines == 2

    def test_it_follows_devices_likewise(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        reader = RunReader(paths)
        assert reader.devices() == []
        paths.devices.write_bytes(lines([devices(1), devices(2)]) + b"bad\n" + lines([devices(3)]))
        size = len(lines([devices(1)]))
        assert [reader.devices(size) for _ in range(2)] == [[devices(1)], [devices(2)]]
        assert (reader.devices(), reader.devices()) == ([devices(3)], [])
        assert (reader.metrics(), reader.events(), reader.bad_lines) == ([], [], 1)

    def test_a_bite_is_as_small_as_asked_for(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        paths.metrics.write_bytes(lines([train(1), train(2)]))
        reader = RunReader(paths)
        size = len(lines([train(1)]))
        assert [reader.metrics(size) for _ in range(3)] == [[train(1)], [train(2)], []]

    def test_all_of_a_long_file_is_read_even_past_a_stretch_without_records(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        first, last = [train(step) for step in range(4000)], [train(step) for step in range(4000, 4010)]
        paths.metrics.write_bytes(lines(first) + (b"junk" * 10_000 + b"\n") * 60 + lines(last))
        assert paths.metrics.stat().st_size > 3 * CHUNK
        assert read_all(paths) == first + last


def test_unreadable_lines_of_metrics_and_events_are_counted(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    assert unreadable_lines(paths) == 0
    many = [train(step) for step in range(10_000)]  # several bites
    paths.metrics.write_bytes(b"bad\n" + lines(many) + b"bad\n" + lines([train(9)]) + b"torn")
    paths.events.write_bytes(b"bad\n" + lines([event(0)]))
    assert paths.metrics.stat().st_size > 2 * CHUNK
    assert unreadable_lines(paths) == 3


class TestLatestByStep:
    def test_where_a_step_was_done_twice_the_later_attempt_wins(self) -> None:
        records = [train(5, 1, 0.5), train(10, 1, 0.6), train(5, 2, 0.7), train(15, 2, 0.8)]
        assert latest_by_step(records) == [train(5, 2, 0.7), train(10, 1, 0.6), train(15, 2, 0.8)]
        assert latest_by_step(reversed(records)) == latest_by_step(records)

    def test_kinds_splits_and_means_of_one_step_do_not_replace_each_other(self) -> None:
        records: list[Metric] = [
            train(12),
            evaluation(12),
            evaluation(12, means="re-estimated"),
            evaluation(12, split="holdout"),
        ]
        assert latest_by_step(records) == records
        again = [evaluation(12, attempt=2)]
        assert latest_by_step([*records, *again]) == [records[0], again[0], *records[2:]]


class TestReadRecord:
    def test_a_file_that_is_not_there_is_none(self, tmp_path: Path) -> None:
        assert read_record(tmp_path / "exit.json", ExitRecord) is None

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"{}",
            b"null",
            b"\xff",
            b'{"attempt":1,"time":"yesterday","by":"me"}',
            b'{"x":' * 99_999,
        ],
        ids=range(7),
    )
    def test_a_damaged_file_is_an_error_that_names_it(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "stop.json").write_bytes(data)
        with pytest.raises(RunDirectoryError, match="stop.json: cannot be read"):
            read_record(tmp_path / "stop.json", StopRequest)

    def test_a_folder_is_an_error_too(self, tmp_path: Path) -> None:
        with pytest.raises(RunDirectoryError, match="cannot be read"):
            read_record(tmp_path, StopRequest)

    def test_a_number_in_quotes_is_a_number(self, tmp_path: Path) -> None:
        (tmp_path / "stop.json").write_text(json.dumps({"attempt": 1, "time": "inf", "by": "me"}))
        request = read_record(tmp_path / "stop.json", StopRequest)
        assert request == StopRequest(attempt=1, time=float("inf"), by="me")


def test_complete_checkpoints_come_by_step_and_junk_and_symlinks_are_passed_over(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "run")
    for step in (24, 12, 100_000_000):
        paths.checkpoint(step).root.mkdir(parents=True)
        paths.checkpoint(step).complete.touch()
    paths.checkpoint(36).root.mkdir()  # half-written
    for junk in ("step-12", "step-0000001x", "step-00000048-copy", ".step-00000060.tmp", "step-", "notes"):
        (paths.checkpoints / junk).mkdir()
        (paths.checkpoints / junk / "COMPLETE").touch()
    (paths.checkpoints / "step-00000072").touch()
    (paths.checkpoints / "step-00000084").symlink_to(paths.checkpoint(12).root)
    assert [c.root.name for c in complete_checkpoints(paths)] == [
        "step-00000012",
        "step-00000024",
        "step-100000000",
    ]
    assert complete_checkpoints(RunPaths(tmp_path / "absent")) == []
