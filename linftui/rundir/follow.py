"""Following a file of lines while it grows: in bounded bites, nothing twice; damage is counted, not fatal."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from linftui.errors import RunDirectoryError
from linftui.files import open_regular

T = TypeVar("T")
CHUNK = 1 << 20
MAX_LINE = 1 << 16
# A sparse file can hold terabytes of holes, and not every file system reports correctly where they are. So
# the length of a line is bounded; a crash leaves a hole of a few MiB at most.
MAX_SKIPPED = 1 << 26


class LineFollower(Generic[T]):
    """Decodes the lines appended to a file since the last poll.

    An unterminated last line does not count yet; a line that does not decode, or is longer than 64 KiB,
    is counted in `bad_lines` and left out. A line of more than 64 MiB ends the following: the file is not a
    log. A file that has replaced the one followed, or is shorter than what was read of it, is read from its
    beginning; `restarts` counts how often.
    """

    def __init__(self, path: Path, decode: Callable[[bytes], T]) -> None:
        self._path = path
        self._decode = decode
        self._tail = b""
        self._skipped = 0  # bytes of the current line, which is too long
        self._file: tuple[int, int] | None = None  # which file it was at the last poll: device and inode
        self.offset = 0
        self.bad_lines = 0
        self.restarts = 0

    def poll(self, max_bytes: int = CHUNK) -> list[T]:
        """The new records within the next `max_bytes` of the file; an empty list where there are none.

        Raises:
            RunDirectoryError: the file cannot be read, or cannot be read any further.
        """
        try:
            with open_regular(self._path) as file:
                self._recognise(os.fstat(file.fileno()))
                if self._skipped > MAX_SKIPPED:
                    raise RunDirectoryError(
                        f"{self._path}: cannot be read any further: one of its lines is longer than "
                        f"{MAX_SKIPPED >> 20} MiB",
                        "move the file away: a resume starts a new one",
                    )
                file.seek(self.offset)
                data = file.read(max_bytes)
        except FileNotFoundError:
            self._file = None  # a later one may be given the same inode
            return []
        except OSError as error:
            raise RunDirectoryError(f"{self._path}: cannot be read: {error.strerror or error}") from error
        self.offset += len(data)
        *lines, self._tail = (self._tail + data).split(b"\n")
        if self._skipped and lines:
            lines, self._skipped = lines[1:], 0
        if len(self._tail) > MAX_LINE:
            self.bad_lines += not self._skipped
            self._skipped += len(self._tail)
            self._tail = b""
        return [record for line in lines if line for record in self._record(line)]

    def _recognise(self, status: os.stat_result) -> None:
        """Goes back to the beginning where this is not the file read so far."""
        file = (status.st_dev, status.st_ino)
        if self.offset and (file != self._file or status.st_size < self.offset):
            self._tail, self._skipped, self.offset, self.bad_lines = b"", 0, 0, 0
            self.restarts += 1
        self._file = file

    def drain(self) -> Iterator[T]:
        """Everything new, in as many bites as it takes, one held at a time."""
        before = -1
        while before != self.offset:
            before = self.offset
            yield from self.poll()

    def _record(self, line: bytes) -> Iterable[T]:
        try:
            if len(line) > MAX_LINE:  # as it would be if it came in smaller bites
                raise msgspec.DecodeError("too long for a record")
            yield self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.bad_lines += 1
