"""Writing a run directory so that a kill at any moment loses nothing that was committed.

Small files are replaced whole (temporary name, fsync, rename, directory fsync). Logs of records are only
ever appended to, one write a line, by one writer; a line is committed once its newline is in the file.
A training process first checks, at every record and checkpoint, that its attempt is still the current one.
"""

import contextlib
import errno
import os
from pathlib import Path

from msgspec import DecodeError, Struct

from linftui.errors import RunDirectoryError, StaleAttemptError
from linftui.files import create_file, open_to_append
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import EventRecord, Metric, StateRecord, decoder, encode


def write_atomic(path: Path, data: bytes) -> None:
    """Replaces the file whole, durably; at no moment does a reader see a part of it.

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
    """Makes a rename inside the folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> RunDirectoryError:
    """One sentence for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "free some space"
    else:
        hint = "check the permissions" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ""
    return RunDirectoryError(f"{path}: cannot be written: {error.strerror or error}", hint)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class LineAppender:
    """Appends whole lines to a file it alone writes; mends the tail that a killed writer left torn."""

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
        """Commits one line (given without its newline). Raises RunDirectoryError, for a full disk say."""
        data = (b"\n" if self._torn else b"") + line + b"\n"
        try:
            self._torn = True  # until all of it is written
            _write_all(self._descriptor, data)
            self._torn = False
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def sync(self) -> None:
        """Makes all lines so far survive a machine that goes down, not only a process that does."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:  # some file systems find out only now that they are full
            raise cannot_write(self._path, error) from error

    def close(self) -> None:
        os.close(self._descriptor)


class AttemptFence:
    """Lets an attempt write only while state.json names it as the current one."""

    def __init__(self, paths: RunPaths, attempt: int) -> None:
        self._paths = paths
        self.attempt = attempt
        self._seen: tuple[int, int] | None = None

    def check(self) -> None:
        """Raises StaleAttemptError once a newer attempt owns the run; costs one stat."""
        status = os.stat(self._paths.state)
        identity = (status.st_ino, status.st_mtime_ns)
        if identity == self._seen:
            return
        state: StateRecord = decoder(StateRecord)(self._paths.state.read_bytes())
        if state.attempt != self.attempt:
            raise StaleAttemptError(
                f"{self._paths.id}: attempt {self.attempt} stops, attempt {state.attempt} owns this run now"
            )
        self._seen = identity


class RunWriter:
    """Rank 0's way of writing metrics and events."""

    def __init__(self, paths: RunPaths, attempt: int) -> None:
        self._fence = AttemptFence(paths, attempt)
        self.check_owner()
        self._metrics = LineAppender(paths.metrics)
        self._events = LineAppender(paths.events)

    def check_owner(self) -> None:
        """Raises StaleAttemptError or RunDirectoryError where this attempt may not write."""
        try:
            self._fence.check()
        except (OSError, DecodeError, UnicodeDecodeError) as error:
            raise RunDirectoryError(f"state.json of the run cannot be read: {error}") from error

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
