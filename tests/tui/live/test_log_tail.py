"""The end of a log: what came since, cleaned, attempt after attempt."""

import os
from pathlib import Path

import pytest

from linftui.rundir.paths import RunPaths
from linftui.tui.live import log_tail
from linftui.tui.live.log_tail import LogTail


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """A run with the folders of two attempts."""
    paths = RunPaths(tmp_path)
    for attempt in (1, 2):
        paths.logs(attempt).mkdir(parents=True)
    return paths


def write(paths: RunPaths, data: bytes, attempt: int = 1) -> None:
    """Adds to an attempt's log."""
    with paths.rank_log(attempt, 0).open("ab") as file:
        file.write(data)


def test_lines_come_once_and_whole(paths: RunPaths) -> None:
    tail = LogTail(paths)
    assert tail.poll(1) == []
    write(paths, b"one\ntwo\nthr")
    assert tail.poll(1) == ["one", "two"]
    write(paths, b"ee\n")
    assert tail.poll(1) == ["three"] and tail.poll(1) == []


def test_only_the_end_of_a_long_log_is_read(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_tail, "TAIL_BYTES", 10)
    write(paths, b"one\ntwo\nthree\nfour\n")
    assert LogTail(paths).poll(1) == ["four"]  # "three" is cut, so it is not shown


def test_a_new_attempt_is_announced(paths: RunPaths) -> None:
    tail = LogTail(paths)
    write(paths, b"one\nhalf a line")
    tail.poll(1)
    write(paths, b"two\n", attempt=2)
    assert tail.poll(2) == ["── attempt 2 ──", "two"]


def test_a_log_is_shown_as_a_terminal_would_leave_it(paths: RunPaths) -> None:
    write(paths, b"10%\r20%\r30%\r\n\x1b[31mred\x07\n\xff\na\tb\n")
    assert LogTail(paths).poll(1) == ["30%", "\ufffd[31mred\ufffd", "\ufffd", "a   b"]


def test_a_line_without_an_end_is_bounded(paths: RunPaths) -> None:
    write(paths, b"x" * 100_000)
    [line] = LogTail(paths).poll(1)
    assert len(line) == log_tail.MAX_LINE


def test_what_is_no_file_is_not_waited_for(paths: RunPaths) -> None:
    os.mkfifo(paths.rank_log(1, 0))
    assert LogTail(paths).poll(1) == []
