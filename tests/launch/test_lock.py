"""A run belongs to one process at a time, and to nobody once that one is gone."""

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from linftui.errors import RunDirectoryError, RunStateError
from linftui.launch.lock import sole_supervisor
from linftui.rundir.paths import RunPaths

HOLD = "import sys, pathlib; from linftui.launch.lock import sole_supervisor as take;"
HOLD += "from linftui.rundir.paths import RunPaths; held = take(RunPaths(pathlib.Path(sys.argv[1])));"
HOLD += "print('held', flush=True); sys.stdin.read()"


def test_of_two_the_second_is_refused_until_the_first_lets_go(paths: RunPaths) -> None:
    first = sole_supervisor(paths)
    for _ in range(2):  # being refused takes nothing away
        with pytest.raises(RunStateError, match="run is still running, or just being started; stop it first"):
            sole_supervisor(paths)
    first.close()
    sole_supervisor(paths).close()


def test_a_dead_process_holds_nothing(paths: RunPaths) -> None:
    command = [sys.executable, "-c", HOLD, str(paths.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(RunStateError):
            sole_supervisor(paths)
        other.kill()
    sole_supervisor(paths).close()


def test_a_process_that_the_holder_starts_does_not_inherit_it(paths: RunPaths) -> None:
    held = sole_supervisor(paths)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        held.close()
        sole_supervisor(paths).close()
        child.kill()


def test_a_run_that_came_without_its_control_folder_can_be_taken(paths: RunPaths) -> None:
    paths.control.rmdir()  # git, say, keeps no empty folders
    sole_supervisor(paths).close()


def test_a_link_in_place_of_the_lock_is_not_followed(paths: RunPaths, tmp_path: Path) -> None:
    (paths.control / "supervisor.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(RunDirectoryError, match="supervisor.lock: cannot be written"):
        sole_supervisor(paths)
    assert not (tmp_path / "victim").exists()


def test_only_its_owner_can_hold_it_even_one_of_an_earlier_version(paths: RunPaths) -> None:
    lock = paths.control / "supervisor.lock"
    lock.touch(0o644)
    sole_supervisor(paths).close()
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_a_pipe_in_place_of_the_lock_blocks_nobody(paths: RunPaths) -> None:
    os.mkfifo(paths.control / "supervisor.lock")
    held = sole_supervisor(paths)
    with pytest.raises(RunStateError):
        sole_supervisor(paths)
    held.close()


@pytest.mark.parametrize("made_again", [False, True])
def test_a_run_that_was_removed_while_its_lock_was_being_taken_is_not_taken(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, made_again: bool
) -> None:
    """Who waits for the lock's file to be opened and locked may hold one that nobody finds any more."""
    flock = fcntl.flock

    def slowly(lock: IO[bytes], operation: int) -> None:
        shutil.rmtree(paths.root)
        if made_again:
            paths.control.mkdir(parents=True)
            paths.meta.touch()
            (paths.control / "supervisor.lock").touch()
        flock(lock, operation)

    with monkeypatch.context() as slow:
        slow.setattr(fcntl, "flock", slowly)
        with pytest.raises(RunStateError, match="is no longer a run: it was removed; linftui ls"):
            sole_supervisor(paths)
    if made_again:
        sole_supervisor(paths).close()


def test_what_is_no_run_any_more_is_not_taken(paths: RunPaths) -> None:
    paths.meta.unlink()
    with pytest.raises(RunStateError, match="is no longer a run"):
        sole_supervisor(paths)
    shutil.rmtree(paths.root)
    with pytest.raises(RunStateError, match="is no longer a run"):
        sole_supervisor(paths)
    assert not paths.root.exists()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_hindrance(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    sole_supervisor(paths).close()
    paths.meta.unlink()
    with pytest.raises(RunStateError, match="is no longer a run"):
        sole_supervisor(paths)
