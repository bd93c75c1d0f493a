"""Who owns a run's folder: checked before anything is written, so that no process writes into another run.

A folder can be moved, removed or replaced while a process works in it, and an attempt can be replaced by a
newer one. Neither a path nor an attempt's number shows that: a new run of the same name has an attempt of the
same number.
"""

import os
import weakref
from pathlib import Path

from linftui.errors import RunDirectoryError, StaleAttemptError
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import StateRecord


class HeldFolder:
    """A run's folder, held open, so that it is noticed when the folder is moved, removed or replaced.

    Raises:
        RunDirectoryError: there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            # Held, it keeps its inode: no later folder is given the same number.
            self._descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.close = weakref.finalize(self, os.close, self._descriptor)
        except OSError as error:
            raise RunDirectoryError(f"{root} cannot be opened: {error.strerror or error}") from error
        self._held = os.fstat(self._descriptor)

    def check(self) -> None:
        """Raises StaleAttemptError unless the folder is still where it was; costs one stat."""
        try:
            here = os.stat(self._root)
        except FileNotFoundError:
            raise StaleAttemptError(f"{self._root} is gone: it was moved or removed meanwhile") from None
        except OSError as error:
            raise RunDirectoryError(f"{self._root} cannot be read: {error.strerror or error}") from error
        if not os.path.samestat(here, self._held):
            raise StaleAttemptError(f"{self._root} is now another folder: the original was moved or removed")

    @property
    def whereabouts(self) -> Path:
        """Where the folder is now; a path that leads nowhere, if it is gone."""
        return Path(os.readlink(f"/proc/self/fd/{self._descriptor}"))


class AttemptFence:
    """Lets an attempt write only while it is the current one, in the folder where it began.

    Args:
        paths: the run directory.
        attempt: the attempt's number.
        nonce: unique to the attempt; another run of the same name has an attempt of the same number.

    Raises:
        RunDirectoryError: there is no such folder.
    """

    def __init__(self, paths: RunPaths, attempt: int, nonce: str = "") -> None:
        self._paths = paths
        self.attempt, self.nonce = attempt, nonce
        self.folder = HeldFolder(paths.root)
        self._seen: tuple[int, int] | None = None

    def check(self) -> None:
        """Costs two stats.

        Raises:
            StaleAttemptError: a newer attempt, or another run, owns the run directory.
            RunDirectoryError: state.json cannot be read.
        """
        self.folder.check()
        try:
            status = os.stat(self._paths.state)
            identity = (status.st_ino, status.st_mtime_ns)
            if identity == self._seen:
                return
            state = read_record(self._paths.state, StateRecord)
        except (OSError, RunDirectoryError) as error:
            raise RunDirectoryError(f"state.json of the run cannot be read: {error}") from error
        if state is None:
            raise RunDirectoryError("state.json of the run cannot be read: it is gone")
        if (state.attempt, state.nonce) != (self.attempt, self.nonce):
            raise StaleAttemptError(
                f"{self._paths.id}: attempt {self.attempt} stops, attempt {state.attempt} owns this run now"
            )
        self._seen = identity
