"""Checkpoints that stay although newer ones were saved: somebody certifies them, or has certified them."""

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
    """Keeps a checkpoint from being pruned as long as this lives; the kernel lets go with a dead process.

    In a run that can only be read nothing is held.

    Raises:
        CheckpointError: it is being removed just now.
    """

    def __init__(self, checkpoint: CheckpointPaths) -> None:
        try:
            lock = open_lock(checkpoint.lock)
        except OSError:
            return
        weakref.finalize(self, lock.close)
        if not _locked(lock, fcntl.LOCK_SH):
            name = checkpoint.root.name
            raise CheckpointError(f"checkpoint {name} is being removed, for newer ones were saved")


@contextlib.contextmanager
def free_to_remove(checkpoint: CheckpointPaths) -> Iterator[bool]:
    """Whether nobody holds a checkpoint; if so, nobody can take it within."""
    try:
        lock = open_lock(checkpoint.lock)
    except OSError:  # there is no room for ours, or it is another user's, who may hold it
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
