"""Commands as a person has them: on a terminal, or in the background; and the processes of their runs."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from linftui.rundir.liveness import describe_process


class Terminal:
    """A pseudo-terminal of 100 x 30 with one command on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.screen = b""

    def __enter__(self) -> "Terminal":
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ours)  # hangs up on whoever is still there
        self._process.wait(30)

    def start(self, *arguments: str | Path, **environment: str) -> None:
        # The terminal becomes the command's own, so that Ctrl-C reaches it as it would at a desk.
        program = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        program += "from linftui.cli.app import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            cwd=self._folder,
            env={**os.environ, "TERM": "xterm-256color", **environment},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            preexec_fn=_heed_signals,
        )
        os.close(self._theirs)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def text(self) -> str:
        """All that was ever shown, without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.screen.decode(errors="replace"))

    def read_until(self, shown: Callable[[str], object]) -> None:
        while not shown(self.text()):
            assert self._read(), self.text()

    def read_to_the_end(self) -> int:
        """Reads until the command is gone; returns its exit code."""
        while self._read():
            pass
        return self._process.wait(30)

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # how Linux says that nobody has the other end any more
            return False
        self.screen += data
        return bool(data)


@contextlib.contextmanager
def start(
    folder: Path, *arguments: str | Path, stdout: int = subprocess.PIPE, prefix: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """The command in the background, its output in pipes; it does not outlive the block."""
    command = [*prefix, sys.executable, "-m", "linftui", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=folder, text=True, stdout=stdout, stderr=subprocess.PIPE, preexec_fn=_heed_signals
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _heed_signals() -> None:
    """As at a desk, even if the tests were started where Ctrl-C and hang-ups are ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def pid_of(run: Path, role: str) -> int:
    """The process that has this role in a run, such as "rank-0" or "supervisor"."""
    members = json.loads((run / "state.json").read_text())["members"]
    [pid] = [member["pid"] for member in members if member["role"] == role]
    return int(pid)


def is_alive(pid: int) -> bool:
    """Whether there is such a process; a zombie is none."""
    return describe_process(pid, "") is not None
