"""What ranks report to their supervisor: that they are alive, that they have begun, and why they fail.

They use a pipe, which needs no disk: when the disk is full, a reason is wanted most.
"""

import contextlib
import os
import threading
import time

from msgspec import DecodeError, structs

from linftui.processes.pipe_ends import name_of_end, open_end
from linftui.rundir.records import ErrorRecord, RankReport, decoder, encode

SILENT_S = 30.0  # a rank that shows no life for this long hangs
STARTING_S = 600.0  # in addition, at its start: Python may be on a slow file system
ASLEEP_S = 5.0  # a supervisor that was itself held up for this long cannot blame a rank

BEAT_S = 5.0  # how often a rank shows that it lives
# Work is stuck that makes no step for this long, and for this many times its longest step so far.
STUCK_S, STUCK_STEPS = 600.0, 20

LONGEST_REPORT = 4096  # bytes; this much is written to a pipe at once or not at all


class RankReports:
    """The pipe of one attempt, and what came through it; ranks 0 to `ranks` - 1 are expected to report.

    A rank opens it by `name`.
    """

    def __init__(self, ranks: int = 0) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.name = name_of_end(self._writing)
        self.errors: dict[int, ErrorRecord] = {}  # the first that each rank reported
        self.begun = False  # whether a rank has done its first step
        self._read_at = time.monotonic()
        self._heard = dict.fromkeys(range(ranks), self._read_at + STARTING_S)
        self._decode = decoder(RankReport)
        self._tail = b""
        self._closed = False

    def read(self) -> None:
        """Reads new reports; none once the pipe is closed."""
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
        """A rank that has stopped showing life, as of the last `read`."""
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


class Reporter:
    """The writing end of the pipe on which a rank reports: a full disk does not silence it.

    Args:
        name: as `RankReports` gives it; None: there is no reader.
        rank: the rank that reports.

    Raises:
        WorkerError: the supervisor is already gone.
    """

    def __init__(self, name: str | None, rank: int) -> None:
        self._rank = rank
        self._fd = None if name is None else open_end(name, os.O_WRONLY)
        self._moved_at: float | None = None  # when the work last made a step
        self._longest_step = 0.0
        self._begun = False  # the first step is done

    def show_life(self) -> None:
        """Starts to report every few seconds that this process is not frozen and its work not stuck."""
        if self._fd is not None:
            threading.Thread(target=self._beat, daemon=True).start()

    def move(self) -> None:
        """Notes that the work has made a step: after the first one, more are expected."""
        now = time.monotonic()
        if self._moved_at is not None:
            self._longest_step = max(self._longest_step, now - self._moved_at)
            if not self._begun:
                self._begun = True
                self._show()
        self._moved_at = now

    def _is_stuck(self) -> bool:
        patience = max(STUCK_S, STUCK_STEPS * self._longest_step)
        return self._moved_at is not None and time.monotonic() - self._moved_at > patience

    def fail(self, error: ErrorRecord) -> None:
        """Reports why this rank fails; texts that are too long are cut."""
        while len(encode(RankReport(rank=self._rank, error=error))) >= LONGEST_REPORT:
            halves = error.message[: len(error.message) // 2], error.hint[: len(error.hint) // 2]
            error = structs.replace(error, message=halves[0], hint=halves[1])
        self._write(RankReport(rank=self._rank, error=error))

    def _beat(self) -> None:
        while True:
            if not self._is_stuck():
                self._show()
            time.sleep(BEAT_S)

    def _show(self) -> None:
        self._write(RankReport(rank=self._rank, begun=self._begun))

    def _write(self, report: RankReport) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a supervisor that is gone, or does not read
                os.write(self._fd, encode(report) + b"\n")
