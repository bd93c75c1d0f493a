"""A run belongs to one process at a time: its supervisor, or whoever removes it."""

import fcntl
import os
from typing import IO

from linftui.errors import RunStateError
from linftui.rundir.paths import RunPaths
from linftui.rundir.writer import cannot_write


def sole_supervisor(paths: RunPaths) -> IO[bytes]:
    """Takes the run for as long as the file stays open; the kernel lets go of it with a dead process.

    Raises:
        RunStateError: another process supervises the run.
    """
    path, flags = paths.control / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        path.parent.mkdir(exist_ok=True)  # a removal that was interrupted has taken it
        lock = open(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644), "r+b", buffering=0)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunStateError(f"{paths.id} is still running, or just being started", "stop it first") from None
    except OSError:
        pass  # no locks on this file system; the attempt's number still fences writers
    return lock
