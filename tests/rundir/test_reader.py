"""Reading a run while it grows: every record once, damage counted, never more than a bite at a time."""

import itertools
import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linftui.errors import RunDirectoryError
from linftui.rundir import reader as reader_module
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import (
    CHUNK,
    MAX_LINE,
    MAX_SKIPPED,
    LineFollower,
    RunReader,
    complete_checkpoints,
    last_metrics,
    latest_by_step,
    read_all,
    read_record,
    unreadable_lines,
)
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
    decoder,
    encode,
)

MESSAGES = decoder(EventRecord)


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


def follow(path: Path) -> LineFollower[EventRecord]:
    return LineFollower(path, MESSAGES)


def drain(follower: LineFollower[EventRecord], max_bytes: int = CHUNK) -> list[EventRecord]:
    """Everything there is now, in bites."""
    records: list[EventRecord] = []
    while True:
        before = follower.offset
        records += follower.poll(max_bytes)
        if follower.offset == before:
            return records
        assert follower.offset - before <= max_bytes


class TestLineFollower:
    def test_a_file_that_is_not_there_yet_holds_nothing(self, tmp_path: Path) -> None:
        follower = follow(tmp_path / "log")
        assert follower.poll() == []
        (tmp_path / "log").write_bytes(lines([event(1)]))
        assert follower.poll() == [event(1)]
        assert follower.poll() == []

    def test_an_unterminated_last_line_is_read_once_it_is_complete(self, tmp_path: Path) -> None:
        path, line = tmp_path / "log", lines([event(2)])
        follower = follow(path)
        path.write_bytes(lines([event(1)]) + line[:20])
        assert follower.poll() == [event(1)]
        assert follower.poll() == []
        path.write_bytes(lines([event(1)]) + line)
        assert follower.poll() == [event(2)]
        assert follower.bad_lines == 0

    def test_bad_lines_are_counted_and_the_others_read(self, tmp_path: Path) -> None:
        bad = [b"{", b"\xff\xfe\x00", b'{"v":1}', b"null", b"[" * 30_000, b'{"x":' * 10_000, b"[1," * 9]
        newer = encode(event(1)).replace(b'"v":2', b'"v":99')
        (tmp_path / "log").write_bytes(
            b"".join(encode(event(i)) + b"\n" + line + b"\n\n" for i, line in enumerate([*bad, newer]))
        )
        follower = follow(tmp_path / "log")
        assert follower.poll() == [event(i) for i in range(len(bad) + 1)]
        assert follower.bad_lines == len(bad) + 1

    @pytest.mark.parametrize("max_bytes", [1 << 10, 1 << 16, CHUNK])
    def test_a_line_that_is_too_long_is_bad_in_whatever_bites_it_is_read(
        self, tmp_path: Path, max_bytes: int
    ) -> None:
        empty = len(encode(event(2)))
        longest, too_long = "x" * (MAX_LINE - empty), "x" * (MAX_LINE - empty + 1)
        records = [event(1), event(2, longest), event(3), event(4, too_long), event(5)]
        (tmp_path / "log").write_bytes(lines(records))
        follower = follow(tmp_path / "log")
        assert drain(follower, max_bytes) == [records[0], records[1], records[2], records[4]]
        assert follower.bad_lines == 1

    def test_a_line_without_end_needs_no_memory_and_counts_once(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(b"x" * (5 * MAX_LINE))
        follower = follow(tmp_path / "log")
        assert drain(follower, MAX_LINE) == []
        assert follower.bad_lines == 1
        assert len(follower._tail) <= MAX_LINE
        with (tmp_path / "log").open("ab") as file:
            file.write(b"x\n" + lines([event(1)]))
        assert drain(follower, MAX_LINE) == [event(1)]
        assert follower.bad_lines == 1

    @settings(deadline=None, max_examples=150)
    @given(data=st.data())
    def test_it_reads_the_same_however_the_file_grows_and_in_whatever_bites(
        self, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        a_line = st.sampled_from(
            [
                encode(event(1)),
                encode(event(2, "ü\n")),
                b"",
                b"{",
                b"\xff",
                b"x" * 100,
                b"x" * 101,
                b"y" * 500,
            ]
        )
        file = b"\n".join(data.draw(st.lists(a_line, max_size=12)))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=6)))
        path = tmp_path_factory.mktemp("log") / "log"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader_module, "MAX_LINE", 100)

            path.write_bytes(file)
            at_once = follow(path)
            expected = at_once.poll()
            assert at_once.poll() == []

            path.write_bytes(b"")
            follower, found = follow(path), list[EventRecord]()
            for start, end in itertools.pairwise([0, *cuts, len(file)]):
                with path.open("ab") as growing:
                    growing.write(file[start:end])
                found += drain(follower, data.draw(st.integers(1, 200)))
        assert found == expected
        assert (follower.bad_lines, follower.offset) == (at_once.bad_lines, len(file))
        whole = [line for line in file.split(b"\n")[:-1] if line.startswith(b'{"v"') and len(line) <= 100]
        assert expected == [MESSAGES(line) for line in whole]

    def test_nothing_is_read_twice(self, tmp_path: Path) -> None:
        path, first = tmp_path / "log", lines([event(1), event(2)])
        path.write_bytes(first)
        follower = follow(path)
        assert follower.poll() == [event(1), event(2)]
        path.write_bytes(b"?" * len(first) + lines([event(3)]))
        assert follower.poll() == [event(3)]
        assert follower.bad_lines == 0

    def test_a_file_in_the_place_of_another_is_read_from_its_beginning(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(lines([event(1)]) + b"bad\n{")
        follower = follow(path)
        assert follower.poll() == [event(1)] and follower.bad_lines == 1
        (tmp_path / "new").write_bytes(lines([event(2), event(3), event(4)]))
        (tmp_path / "new").rename(path)
        assert follower.poll() == [event(2), event(3), event(4)]
        assert (follower.restarts, follower.bad_lines) == (1, 0)
        path.write_bytes(lines([event(5)]))  # the same file, and shorter
        assert follower.poll() == [event(5)] and follower.restarts == 2
        assert follower.poll() == [] and follower.restarts == 2

    def test_a_file_made_again_is_another_one_even_where_it_has_the_same_inode(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(lines([event(1)]))
        follower = follow(path)
        assert follower.poll() == [event(1)]
        path.rename(tmp_path / "kept")
        assert follower.poll() == [] and follower.restarts == 0
        (tmp_path / "kept").rename(path)
        assert follower.poll() == [event(1)] and follower.restarts == 1

    def test_a_hole_that_a_crash_has_left_costs_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(lines([event(1)]))
        os.truncate(path, 8 << 20)
        with path.open("ab") as file:
            file.write(b"\n" + lines([event(2)]))
        follower = follow(path)
        assert drain(follower) == [event(1), event(2)]
        assert follower.bad_lines == 1

    def test_a_terabyte_of_nothing_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(lines([event(1)]))
        os.truncate(path, 1 << 40)
        follower, found = follow(path), list[EventRecord]()
        with pytest.raises(RunDirectoryError, match="log: cannot be read any further: .*64 MiB; move"):
            for _ in range(MAX_SKIPPED // CHUNK + 9):
                found += follower.poll()
        assert found == [event(1)] and follower.bad_lines == 1
        read = follower.offset
        with pytest.raises(RunDirectoryError):
            follower.poll()
        assert follower.offset == read <= MAX_SKIPPED + 2 * CHUNK
        (tmp_path / "new").write_bytes(lines([event(2)]))
        (tmp_path / "new").rename(path)
        assert follower.poll() == [event(2)]

    def test_a_file_that_cannot_be_read_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(RunDirectoryError, match="cannot be read"):
            follow(tmp_path).poll()


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
