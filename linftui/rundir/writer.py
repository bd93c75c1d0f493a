"""Writing a run directory so that a kill at any moment loses nothing that was committed.

Small files are replaced whole (temporary name, fsync, rename, directory fsync). Logs of records are only
ever appended to, one write per line, by one writer; a line is committed once its newline is in the file.
Before every step, record and checkpoint, a training process checks that its attempt is still the current one,
and that the folder is still the one where it began.
"""

import contextlib
import errno
import os
from pathlib import Path

from msgspec import Struct

from linftui.errors import RunDirectoryError
from linftui.files import create_file, open_to_append
from linftui.rundir.fence import AttemptFence
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import EventRecord, Metric, encode
from linftui.user_folders import current_folder_is_gone


def write_atomic(path: Path, data: bytes) -> None:
    """Replaces the file whole, durably; a reader never sees a part of it.

    Raises:
        RunDirectoryError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = create_file(temporary)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        fsync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise cannot_write(path, error) from error


def write_record(path: Path, record: Struct) -> None:
    """`write_atomic` for a record."""
    write_atomic(path, encode(record) + b"\n")


def fsync_directory(path: Path) -> None:
    """Makes a rename inside the folder durable, as far as its file system can."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # CIFS, vboxsf and some FUSE file systems sync files alone
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> RunDirectoryError:
    """One sentence for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space"
    elif error.errno == errno.EFBIG:
        hint = "ulimit -f limits the size of a file"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "check the permissions"
    elif error.errno == errno.ENOENT and current_folder_is_gone():
        hint = "the current folder was removed: change to another"
    else:
        hint = ""
    return RunDirectoryError(f"{path}: cannot be written: {error.strerror or error}", hint)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class ReservedRecord:
    """Room for one record, reserved in advance, so that it can be written when the disk is full.

    Args:
        path: where the record goes.

    Raises:
        RunDirectoryError: there is no room already.
    """

    ROOM = 4096  # bytes; what a record needs beyond that is written like any other data

    def __init__(self, path: Path) -> None:
        self._path = path
        self._room = path.with_name(f".{path.name}.reserve")
        try:
            descriptor = create_file(self._room)
            try:
                _write_all(descriptor, bytes(self.ROOM))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise cannot_write(path, error) from error

    def write(self, record: Struct) -> None:
        """Writes the record to its place. Raises RunDirectoryError."""
        data = encode(record) + b"\n"
        try:
            descriptor = os.open(self._room, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                _write_all(descriptor, data)
                os.ftruncate(descriptor, len(data))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(self._room, self._path)
            fsync_directory(self._path.parent)
        except OSError:  # it was used or removed, or this file system cannot write in place
            write_atomic(self._path, data)
        else:
            return
        self.discard()

    def discard(self) -> None:
        """Gives the room back."""
        with contextlib.suppress(OSError):
            self._room.unlink()


class LineAppender:
    """Appends whole lines to a file that nothing else writes; ends a line that a killed writer left torn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = open_to_append(path)
            size = os.fstat(self._descriptor).st_size
            # Ends the torn line, so that it is one bad line and not the beginning of ours.
            self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
        except OSError as error:
            raise cannot_write(path, error) from error

    def append(self, line: bytes) -> None:
        """Commits one line (given without its newline). Raises RunDirectoryError, on a full disk for one."""
        data = (b"\n" if self._torn else b"") + line + b"\n"
        try:
            self._torn = True  # until all of it is written
            _write_all(self._descriptor, data)
            self._torn = False
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def sync(self) -> None:
        """Makes all lines so far survive a crash of the machine, not only of the process."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:  # some file systems notice only now that they are full
            raise cannot_write(self._path, error) from error

    def close(self) -> None:
        os.close(self._descriptor)


class RunWriter:
    """Rank 0's way of writing metrics and events; arguments and errors as for `AttemptFence`."""

    def __init__(self, paths: RunPaths, attempt: int, nonce: str = "") -> None:
        self._fence = AttemptFence(paths, attempt, nonce)
        self.check_owner()
        self._metrics = LineAppender(paths.metrics)
        self._events = LineAppender(paths.events)

    def check_owner(self) -> None:
        """Raises StaleAttemptError or RunDirectoryError where this attempt may not write."""
        self._fence.check()

    def metric(self, record: Metric) -> None:
        self.check_owner()
        self._metrics.append(encode(record))

    def event(self, record: EventRecord) -> None:
        self.check_owner()
        self._events.append(encode(record))

    def sync(self) -> None:
        self._metrics.sync()
        self._events.sync()

    def close(self) -> None:
        self._metrics.close()
        self._events.close()
        self._fence.folder.close()
