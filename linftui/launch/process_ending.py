"""How a process ended that did not say why: by its exit code, its log, and what the kernel did meanwhile."""

import re
import resource
import signal
from pathlib import Path

from linftui import memory
from linftui.files import last_lines

MOST_QUOTED = 200  # of a log's last line


def how_it_ended(code: int | None, log: Path, *, starved: bool) -> str:
    """How a process ended, in words that follow its name.

    Args:
        code: its exit code; negative: the signal that ended it; None: unknown.
        log: where its output went.
        starved: whether the kernel has killed a process to free memory since this one was started.
    """
    if words := memory.shortage_in(log):
        return f"ran out of memory: {words}"
    if code is None:
        return "was killed because memory ran out" if starved else "died and left no message"
    if code >= 0:
        return f"ended with exit code {code}"
    how = f"was killed by {_signal(-code)}"
    if code != -signal.SIGKILL:
        return how
    if starved:
        return f"{how} because memory ran out"
    seconds = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if seconds != resource.RLIM_INFINITY:
        return f"{how}, perhaps because ulimit -t limits a process to {seconds} s of a processor"
    return f"{how}, perhaps because it used too much memory"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def code_seen_by_torchrun(log: Path, rank: int) -> int | None:
    """The exit code of the rank that torchrun saw fail first, from torchrun's log."""
    codes = re.findall(rf"failed \(exitcode: (-?\d+)\) local_rank: {rank} ", "\n".join(last_lines(log)))
    return int(codes[-1]) if codes else None


def its_log(path: Path) -> str:
    """Where a log is, and its last line, which may be the cause."""
    lines = last_lines(path)
    fatal = [line for line in lines if line.startswith("Fatal Python error")]  # what follows is a stack
    last = (fatal or lines or [""])[-1]
    return f"its log is {path}" + (f", which ends with: {last[:MOST_QUOTED]}" if last else "")


def where_to_look(place: str) -> str:
    """A hint: where to read more, and the memory limit that a process may have hit without a message."""
    return "; ".join(filter(None, (place, memory.limit())))
