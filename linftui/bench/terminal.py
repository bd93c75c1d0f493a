"""A command on its own pseudo-terminal, as a person would run it, with every byte that it sends counted."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil

# Left out: the size is the terminal's own, and it is interactive, whatever the caller's environment says.
_OTHERS = ("COLUMNS", "LINES", "CI")


class Terminal:
    """Starts `linftui` with these arguments on a terminal of `size` (columns, rows); a context manager."""

    def __init__(self, program: list[str], folder: Path, size: tuple[int, int] = (160, 45)) -> None:
        self._program, self._folder, self._size = program, folder, size
        self.sent = 0  # bytes received so far

    def __enter__(self) -> "Terminal":
        self._ours, theirs = pty.openpty()
        columns, rows = self._size
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, *self._program],
            cwd=self._folder,
            env={
                **{name: value for name, value in os.environ.items() if name not in _OTHERS},
                "TERM": "xterm-256color",
                "COLORTERM": "truecolor",
            },
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def seconds_until(self, text: str, patience_s: float = 60.0) -> float:
        """Seconds from the start, or from the last key, until the text has been sent.

        Raises:
            TimeoutError: it was not.
        """
        wanted, tail = text.encode(), b""
        deadline = time.perf_counter() + patience_s
        while time.perf_counter() < deadline:
            tail = tail[-4096:] + self._read(0.05)
            if wanted in tail:
                return time.perf_counter() - self.started
        raise TimeoutError(f"{text!r} did not appear within {patience_s:.0f} s")

    def press(self, keys: str) -> None:
        """Presses keys; the clock of `seconds_until` starts again."""
        self.started = time.perf_counter()
        os.write(self._ours, keys.encode())

    def listen(self, seconds: float) -> int:
        """The number of bytes that arrive within this many seconds."""
        before, end = self.sent, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self._read(left)
        return self.sent - before

    def cpu_seconds(self) -> float:
        """Processor time that the command has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Bytes that it holds."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def _read(self, wait_s: float) -> bytes:
        if not select.select([self._ours], [], [], wait_s)[0]:
            return b""
        data = os.read(self._ours, 1 << 16)
        self.sent += len(data)
        return data
