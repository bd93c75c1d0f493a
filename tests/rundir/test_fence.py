"""Nobody writes into a run that is another's by now: a newer attempt's, or a new run's in its place."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from linftui.errors import RunDirectoryError, StaleAttemptError
from linftui.rundir.fence import AttemptFence, HeldFolder
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import EventRecord, StateRecord, encode
from linftui.rundir.writer import RunWriter, write_record

EVENT = EventRecord(attempt=1, step=0, time=1.0, event="started")


def write_state(paths: RunPaths, attempt: int, phase: str = "running", nonce: str = "") -> None:
    write_record(
        paths.state,
        StateRecord(
            attempt=attempt,
            phase="running" if phase == "running" else "starting",
            host=this_host(),
            members=[],
            devices=["cpu"],
            threads=1,
            time=time.time(),
            nonce=nonce,
        ),
    )


class TestAttemptFence:
    def test_an_attempt_writes_while_state_json_names_it(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        write_state(paths, 1, "starting")
        fence = AttemptFence(paths, 1)
        fence.check()
        write_state(paths, 1)
        fence.check()
        fence.check()

    def test_an_attempt_is_refused_once_a_newer_one_owns_the_run(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        write_state(paths, 1)
        writer = RunWriter(paths, 1)
        writer.event(EVENT)
        write_state(paths, 2, "starting")
        with pytest.raises(StaleAttemptError, match="attempt 1 stops, attempt 2 owns this run now"):
            writer.event(EVENT)
        with pytest.raises(StaleAttemptError):
            RunWriter(paths, 1)
        writer.close()
        assert paths.events.read_bytes() == encode(EVENT) + b"\n"

    def test_a_run_whose_state_is_gone_or_damaged_is_not_written_to(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        write_state(paths, 1)
        writer = RunWriter(paths, 1)
        paths.state.write_bytes(b"{")
        with pytest.raises(RunDirectoryError, match="state.json of the run cannot be read"):
            writer.event(EVENT)
        paths.state.unlink()
        with pytest.raises(RunDirectoryError, match="state.json of the run cannot be read"):
            writer.event(EVENT)
        writer.close()
        assert paths.events.read_bytes() == b""

    def test_an_attempt_of_the_same_number_of_another_run_is_told_apart(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        write_state(paths, 1, nonce="one")
        writer = RunWriter(paths, 1, "one")
        writer.event(EVENT)
        write_state(paths, 1, nonce="other")
        with pytest.raises(StaleAttemptError, match="owns this run now"):
            writer.event(EVENT)
        with pytest.raises(StaleAttemptError):
            RunWriter(paths, 1, "")
        writer.close()

    def test_a_pipe_in_place_of_the_state_blocks_nobody(self, tmp_path: Path) -> None:
        paths = RunPaths(tmp_path)
        os.mkfifo(paths.state)
        with pytest.raises(RunDirectoryError, match="state.json of the run cannot be read"):
            AttemptFence(paths, 1).check()


class TestHeldFolder:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (shutil.rmtree, "is gone: it was moved or removed meanwhile"),
            (lambda root: root.rename(root.with_name("moved")), "is gone: it was moved or removed"),
            (lambda root: shutil.rmtree(root) or root.mkdir(), "is now another folder"),
            (lambda root: root.rename(root.with_name("moved")) and root.mkdir(), "is now another folder"),
            (
                lambda root: shutil.copytree(root.rename(root.with_name("moved")), root),
                "is now another folder",
            ),
        ],
    )
    def test_a_folder_that_is_not_there_any_more_is_noticed(
        self, tmp_path: Path, change: Callable[[Path], object], words: str
    ) -> None:
        root = tmp_path / "run"
        root.mkdir()
        held = HeldFolder(root)
        held.check()
        change(root)
        with pytest.raises(StaleAttemptError, match=words):
            held.check()

    def test_it_knows_where_the_folder_is(self, tmp_path: Path) -> None:
        root = tmp_path / "run"
        root.mkdir()
        held = HeldFolder(root)
        assert held.whereabouts == root
        moved = root.rename(tmp_path / "moved")
        assert held.whereabouts == moved
        (tmp_path / "moved").rmdir()
        assert not held.whereabouts.exists()

    def test_a_folder_that_is_not_there_cannot_be_held(self, tmp_path: Path) -> None:
        with pytest.raises(RunDirectoryError, match="cannot be opened: No such file or directory"):
            HeldFolder(tmp_path / "run")
