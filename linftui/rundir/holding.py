"""Checkpoints that are kept although newer ones exist: they are being certified, or have a certificate."""

import contextlib
import fcntl
import os
import weakref
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from linftui.errors import CheckpointError
from linftui.files import open_lock
from linftui.rundir.paths import CheckpointPaths, RunPaths


def certified_checkpoints(paths: RunPaths) -> set[Path]:
    """The folders of the checkpoints that the run's certificates name."""
    folder = paths.certificates
    try:
        names = [] if folder.is_symlink() else os.listdir(folder)
    except OSError:
        names = []
    return {
        paths.checkpoints / paths.certificate(name).checkpoint for name in names if name.startswith("step-")
    }


class HeldCheckpoint:
    """Keeps a checkpoint from being pruned while this object lives.

    The kernel releases the lock of a dead process. In a read-only run nothing is held.

    Raises:
        CheckpointError: it is being removed.
    """

    def __init__(self, checkpoint: CheckpointPaths) -> None:
        try:
            lock = open_lock(checkpoint.lock)
        except OSError:
            return
        weakref.finalize(self, lock.close)
        if not _locked(lock, fcntl.LOCK_SH):
            name = checkpoint.root.name
            raise CheckpointError(f"checkpoint {name} is being removed because newer ones were saved")


@contextlib.contextmanager
def free_to_remove(checkpoint: CheckpointPaths) -> Iterator[bool]:
    """Whether no process holds a checkpoint; if so, none can take it within the context."""
    try:
        lock = open_lock(checkpoint.lock)
    except OSError:  # no room for a lock file, or there is another user's, who may hold it
        yield not os.path.lexists(checkpoint.lock)
        return
    with lock:
        yield _locked(lock, fcntl.LOCK_EX)


def _locked(lock: FileIO, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks on this file system
        pass
    return True
