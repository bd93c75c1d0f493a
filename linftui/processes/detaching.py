"""Leaving whoever started this process: nobody's child, with its output in a log of its own."""

import os
import sys
from collections.abc import Callable
from pathlib import Path


def become_nobodys_child(first: Callable[[], None] = lambda: None) -> None:
    """Goes on in a child that nobody has to wait for; the process that was started leaves.

    It leaves with 0 once the child has done what comes `first`; with 1 once a child that could not is gone,
    which has told why by then.
    """
    done, telling = os.pipe()
    if os.fork():
        os.close(telling)
        os._exit(0 if os.read(done, 1) else 1)
    os.close(done)
    first()
    os.write(telling, b"!")
    os.close(telling)


def redirect_output(log: Path) -> None:
    """From here on all output of this process is added to a log; whoever read it before meets its end."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
