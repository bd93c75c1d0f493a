"""A run belongs to one process at a time: its supervisor, or whoever removes it."""

import fcntl
from typing import IO

from linftui.errors import RunStateError
from linftui.files import open_lock
from linftui.rundir.paths import RunPaths
from linftui.rundir.writer import cannot_write


def sole_supervisor(paths: RunPaths) -> IO[bytes]:
    """Takes the run for as long as the file stays open; the kernel lets go of it with a dead process.

    Raises:
        RunStateError: another process supervises the run.
    """
    path = paths.control / "supervisor.lock"
    try:
        path.parent.mkdir(exist_ok=True)  # a removal that was interrupted has taken it
        lock = open_lock(path)
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
