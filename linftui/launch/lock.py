"""A run belongs to one process at a time: its supervisor, or one that removes it."""

import fcntl
import os
from pathlib import Path
from typing import IO

from linftui.errors import RunStateError
from linftui.files import open_lock
from linftui.rundir.paths import RunPaths
from linftui.rundir.writer import cannot_write


def sole_supervisor(paths: RunPaths) -> IO[bytes]:
    """Takes the run for as long as the file stays open; the kernel closes it when the process dies.

    Raises:
        RunStateError: another process supervises the run, or it is gone.
        RunDirectoryError: the lock cannot be written.
    """
    path = paths.lock
    try:
        path.parent.mkdir(exist_ok=True)  # a run that was copied by git has no empty folders
        lock = open_lock(path)
    except FileNotFoundError:
        raise _gone(paths) from None
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunStateError(f"{paths.id} is still running, or just being started", "stop it first") from None
    except OSError:
        pass  # no locks on this file system; the attempt's number still fences writers
    if not (_is_at(lock, path) and paths.meta.is_file()):
        lock.close()
        raise _gone(paths)
    return lock


def _is_at(lock: IO[bytes], path: Path) -> bool:
    """Whether the file that we hold is still the one that others find: it may have been removed."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.lstat(path))
    except OSError:
        return False


def _gone(paths: RunPaths) -> RunStateError:
    return RunStateError(f"{paths.root} is no longer a run: it was removed", "linftui ls lists the runs")
