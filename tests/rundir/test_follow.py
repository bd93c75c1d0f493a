"""Following a file of lines while it grows, whoever writes it."""

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linftui.errors import RunDirectoryError
from linftui.rundir import follow as follow_module
from linftui.rundir.follow import CHUNK, MAX_LINE, MAX_SKIPPED, LineFollower
from linftui.rundir.records import (
    DeviceRecord,
    EventRecord,
    Metric,
    decoder,
    encode,
)

MESSAGES = decoder(EventRecord)


def event(step: int, message: str = "") -> EventRecord:
    return EventRecord(attempt=1, step=step, time=0.0, event="warning", message=message)


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
            patch.setattr(follow_module, "MAX_LINE", 100)

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
