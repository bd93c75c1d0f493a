"""What ranks report to their supervisor: that they live, that they have begun to work, and why they fail.

They do so through a pipe, which needs no disk: a full one is when a reason is wanted most.
"""

import contextlib
import os
import time

from msgspec import DecodeError

from linftui.rundir.records import ErrorRecord, RankReport, decoder

SILENT_S = 30.0  # a rank that shows no life for so long hangs
STARTING_S = 600.0  # so much later at its start: Python may lie on a slow file system
ASLEEP_S = 5.0  # a supervisor that was held up for so long itself cannot blame a rank


class RankReports:
    """The pipe of one attempt, and what came through it; the first so many ranks are expected to report.

    A rank opens it by `name`, "<pid>:<descriptor>:<inode>", because torchrun hands no descriptors on.
    """

    def __init__(self, ranks: int = 0) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.name = f"{os.getpid()}:{self._writing}:{os.fstat(self._writing).st_ino}"
        self.errors: dict[int, ErrorRecord] = {}  # the first that each rank told
        self.begun = False  # whether a rank has done its first step
        self._read_at = time.monotonic()
        self._heard = dict.fromkeys(range(ranks), self._read_at + STARTING_S)
        self._decode = decoder(RankReport)
        self._tail = b""
        self._closed = False

    def read(self) -> None:
        """Takes what is new; nothing once it is closed."""
        now, before = time.monotonic(), self._read_at
        self._read_at = now
        if now - before > ASLEEP_S:
            self._heard = {rank: max(now, heard) for rank, heard in self._heard.items()}
        for line in self._lines():
            with contextlib.suppress(DecodeError, UnicodeDecodeError):
                report: RankReport = self._decode(line)
                self._heard[report.rank] = now
                self.begun |= report.begun
                if report.error is not None:
                    self.errors.setdefault(report.rank, report.error)

    def silent_rank(self) -> int | None:
        """A rank that shows no life any more, as of the last `read`."""
        silent = (rank for rank, heard in self._heard.items() if self._read_at - heard > SILENT_S)
        return min(silent, default=None)

    def close(self) -> None:
        if not self._closed:
            os.close(self._writing)
            os.close(self._reading)
        self._closed = True

    def _lines(self) -> list[bytes]:
        with contextlib.suppress(BlockingIOError):
            while not self._closed and (data := os.read(self._reading, 1 << 16)):
                self._tail += data
        *lines, self._tail = self._tail.split(b"\n")
        return lines
