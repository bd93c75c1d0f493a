"""Detaching this process from its starter: in a child that has no parent to wait for it, with its own log."""

import os
import sys
from collections.abc import Callable
from pathlib import Path


def detach(first: Callable[[], None] = lambda: None) -> None:
    """Continues in a child that no process has to wait for; the process that was started exits.

    It exits with 0 once the child has run `first`, and with 1 if the child ended before that; by then the
    child has reported why.
    """
    done, signalling = os.pipe()
    if os.fork():
        os.close(signalling)
        os._exit(0 if os.read(done, 1) else 1)
    os.close(done)
    first()
    os.write(signalling, b"!")
    os.close(signalling)


def redirect_output(log: Path) -> None:
    """Appends all further output of this process to a log; its reader so far sees the end of the file."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
