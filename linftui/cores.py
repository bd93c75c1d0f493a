"""How many processor cores we may use: under taskset, in a container or in a job, fewer than there are."""

import math
import os
from pathlib import Path

from linftui.cgroups import CGROUPS, PROC, own_groups, words_of


def allowed_cores() -> set[int]:
    """The numbers of the cores that this process may run on."""
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return set(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Number of cores that this process may keep busy: those it may run on, or fewer under a quota."""
    cores, quota = len(allowed_cores()), cpu_quota()
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def cpu_quota(proc: Path = PROC, cgroups: Path = CGROUPS) -> float | None:
    """How many cores' worth of time control groups allow this process; None: no limit."""
    limits = (_limit(group) for group in own_groups("cpu", proc, cgroups))
    return min((cores for cores in limits if cores is not None), default=None)


def _limit(group: Path) -> float | None:
    """ "150000 100000" are one and a half cores; "max" and -1 are no limit."""
    words = words_of(group / "cpu.max")
    words = words or [*words_of(group / "cpu.cfs_quota_us"), *words_of(group / "cpu.cfs_period_us")]
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    quota, period = map(int, words)
    return quota / period if quota and period else None
