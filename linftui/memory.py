"""Memory that runs out: how that is reported, what limits it, and whether the kernel has killed for it."""

import errno
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from linftui.cgroups import CGROUPS, PROC, own_groups, words_of
from linftui.errors import LinftuiError
from linftui.files import last_lines

# The words of torch, NumPy, OpenBLAS, C++, the dynamic linker and the C library.
_WORDS = re.compile(
    r"(can't|cannot|unable to|failed to) (allocate|map segment)|memory allocation|bad_alloc|out of memory"
    r"|storage size calculation overflowed|status_alloc_failed",
    re.IGNORECASE,
)
_OF_A_GPU = re.compile(
    r"cuda\W*(driver\W*)?(out of|error|failure)|cuda_error|cublas_status_alloc_failed", re.IGNORECASE
)
_BYTES = re.compile(r"allocate (\d+) bytes")
_TAIL = 1 << 14  # of a log; stacks may follow the words


def shortage(error: BaseException, instead: str = "") -> LinftuiError | None:
    """The error as a sentence, if memory was short; None if it was something else.

    Args:
        error: the error; its causes count too.
        instead: a hint at what needs less memory.
    """
    chain = list(_causes(error))
    words = " ".join(str(cause) for cause in chain if _WORDS.search(str(cause)))
    # The type by its name: torch may not even be imported.
    if _OF_A_GPU.search(words) or any(type(cause).__name__ == "OutOfMemoryError" for cause in chain):
        return LinftuiError("the GPU is out of memory", instead)
    if not words and not any(map(_says_by_its_type, chain)):
        return None
    asked = _BYTES.search(words)
    more = f": another {_size(int(asked[1]))} could not be allocated" if asked else ""
    return LinftuiError(f"the process is out of memory{more}", "; ".join(filter(None, (instead, limit()))))


def shortage_in(log: Path) -> str:
    """The last line near a log's end that reports a shortage; "" where none does."""
    lines = last_lines(log, _TAIL)
    return next((line.strip().rstrip(".") for line in reversed(lines) if _WORDS.search(line)), "")


def limit() -> str:
    """The limit on the memory of this process, and of those that it starts; "" where there is none."""
    for kind, option in ((resource.RLIMIT_AS, "-v"), (resource.RLIMIT_DATA, "-d")):
        most = resource.getrlimit(kind)[0]
        if most != resource.RLIM_INFINITY:
            return f"ulimit {option} limits a process to {_size(most)}"
    return ""


def kernel_kills(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """How many processes of our control group the kernel has killed for lack of memory so far.

    It does so when the group is at its limit, or the machine has none left. If the group has no count, it is
    the machine's; 0 if that has none either.
    """
    counters = (
        group / name
        for group in own_groups("memory", proc, cgroups)
        for name in ("memory.events", "memory.oom_control")
    )
    counts = map(_oom_kills, [*counters, proc / "vmstat"])
    return next((count for count in counts if count is not None), 0)


class KernelKills:
    """Whether the kernel has killed a process for lack of memory within the last seconds.

    `look` is called repeatedly: in work that takes days, a kill on the first day does not count.
    """

    def __init__(self, window_s: float = 20.0) -> None:
        self._window_s = window_s
        self._counts = [(time.monotonic(), kernel_kills())]  # of the current window, and the previous one

    def look(self) -> None:
        """Counts once in every window."""
        if time.monotonic() - self._counts[-1][0] > self._window_s:
            self._counts = [self._counts[-1], (time.monotonic(), kernel_kills())]

    def some_recently(self) -> bool:
        """Whether the count has grown since the previous window began."""
        return kernel_kills() > self._counts[0][1]


def _oom_kills(counters: Path) -> int | None:
    words = words_of(counters)
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _says_by_its_type(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _size(octets: int) -> str:
    if octets < 2**30:
        return f"{octets / 2**20:.0f} MiB"
    return f"{octets / 2**30:,.1f} GiB"
