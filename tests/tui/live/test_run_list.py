"""The list of runs: only what changed is looked at again."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from linftui.rundir.paths import RunPaths
from linftui.rundir.records import ExitRecord
from linftui.rundir.store import RunStore
from linftui.rundir.writer import write_record
from linftui.tui.live import run_list
from linftui.tui.live.run_list import RunList, RunRow


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The runs that were looked at, in order."""
    seen: list[str] = []

    def look(paths: RunPaths) -> RunRow:
        seen.append(paths.id)
        return original(paths)

    original = run_list.read_row
    monkeypatch.setattr(run_list, "read_row", look)
    yield seen


def age(run: Path, seconds: float) -> None:
    """Makes everything in a run that much older than now."""
    for path in [run, *run.rglob("*")]:
        status = path.stat()
        os.utime(path, (status.st_atime, status.st_mtime - seconds))


def rounds(runs: RunList, count: int = 1) -> tuple[RunRow, ...]:
    """Goes through so many rounds."""
    for _ in range(count):
        while not runs.step(10.0):
            pass
    return runs.rows()


def test_what_ended_is_looked_at_once(runs: Path, looks: list[str]) -> None:
    age(runs / "tiny-run", 60.0)
    listed = RunList(RunStore(runs))
    [first] = rounds(listed)
    [later] = rounds(listed, 9)
    assert looks == ["tiny-run"] and later is first and first.summary.state == "finished"
    (runs / "tiny-run" / "exit.json").unlink()
    [changed] = rounds(listed, run_list.THOROUGH_ROUNDS)
    assert changed.summary.state == "crashed" and looks == ["tiny-run"] * 2


def test_what_was_just_touched_is_looked_at_again(runs: Path, looks: list[str]) -> None:
    listed = RunList(RunStore(runs))
    os.utime(runs / "tiny-run" / "metrics.jsonl")
    rounds(listed, 3)
    assert looks == ["tiny-run"] * 3  # within a clock's tick it could change unnoticed


def test_a_closer_look_finds_a_change_at_once(runs: Path) -> None:
    age(runs / "tiny-run", 60.0)
    listed = RunList(RunStore(runs))
    rounds(listed, 2)
    write_record(runs / "tiny-run" / "exit.json", ExitRecord(attempt=1, outcome="stopped", code=0, time=0.0))
    assert rounds(listed)[0].summary.state == "finished"
    listed.look_closely()
    assert rounds(listed)[0].summary.state == "stopped"


def test_runs_come_and_go(runs: Path) -> None:
    listed = RunList(RunStore(runs))
    rounds(listed)
    shutil.copytree(runs / "tiny-run", runs / "other")
    (runs / "not a run").mkdir()
    assert {row.summary.id for row in rounds(listed)} == {"tiny-run", "other"}
    shutil.rmtree(runs / "tiny-run")
    assert {row.summary.id for row in rounds(listed)} == {"other"}
    shutil.rmtree(runs)
    assert rounds(listed) == ()


def test_the_newest_are_there_first(runs: Path) -> None:
    age(runs / "tiny-run", 60.0)
    for name in ("b", "a"):
        shutil.copytree(runs / "tiny-run", runs / name)
        os.utime(runs / name, (0, 2e9 if name == "b" else 1e9))
    listed = RunList(RunStore(runs))
    listed.step(0.0)
    assert [row.summary.id for row in listed.rows()] == ["b"] and not listed.complete


def test_a_link_is_no_run(runs: Path) -> None:
    (runs / "link").symlink_to(runs / "tiny-run")
    assert [row.summary.id for row in rounds(RunList(RunStore(runs)))] == ["tiny-run"]


def test_what_is_hidden_is_no_run(runs: Path) -> None:
    shutil.copytree(runs / "tiny-run", runs / ".other.0123.gone")  # its removal was interrupted
    assert [row.summary.id for row in rounds(RunList(RunStore(runs)))] == ["tiny-run"]


def test_a_folder_that_goes_while_it_is_listed_hides_no_other(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Vanished:
        """What `os.scandir` gives of a folder that is removed a moment later."""

        name, path = "gone", str(runs / "gone")

        def is_dir(self, *, follow_symlinks: bool) -> bool:
            return True

        def stat(self, *, follow_symlinks: bool) -> os.stat_result:
            return os.stat(self.path)

    entries = [Vanished(), *os.scandir(runs)]
    monkeypatch.setattr(os, "scandir", lambda _: contextlib.nullcontext(entries))
    assert [row.summary.id for row in rounds(RunList(RunStore(runs)))] == ["tiny-run"]


def test_what_is_known_stays_while_the_folder_cannot_be_listed(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = RunList(RunStore(runs))
    known = rounds(listed)

    def fail(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", fail)
    assert known and rounds(listed, 5) == known


def test_a_run_that_cannot_be_looked_at_says_why(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(paths: RunPaths) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(paths.control))

    monkeypatch.setattr(run_list, "summarise", fail)
    [row] = rounds(RunList(RunStore(runs)))
    assert (row.summary.id, row.summary.state, row.active) == ("tiny-run", None, False)
    assert row.summary.problem == f"{runs}/tiny-run/control: cannot be read: Permission denied"
