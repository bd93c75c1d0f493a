"""How many processor cores are ours: fewer than the machine has under taskset, in a container, in a job."""

import math
import os
from pathlib import Path, PurePosixPath


def allowed_cores() -> set[int]:
    """The numbers of the cores that this process may run on."""
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return set(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Cores this process may keep busy: those it may run on, or what a container's quota allows of them."""
    cores, quota = len(allowed_cores()), cpu_quota()
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def cpu_quota(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """How many cores' time a control group allows this process; None where none sets a limit.

    That is the least of its group's limit and those of the groups around it. A container may see its own
    group as the outermost, under whatever name /proc has for it.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return None
    limits = list[float]()
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            mounts, limit = [cgroups, cgroups / "unified"], _limit_v2
        elif "cpu" in controllers.split(","):
            mounts, limit = [cgroups / controllers, cgroups / "cpu"], _limit_v1
        else:
            continue
        path = PurePosixPath(group.lstrip("/"))
        found = (limit(mount / part) for mount in mounts for part in (path, *path.parents))
        limits += [cores for cores in found if cores is not None]
    return min(limits, default=None)


def _limit_v2(group: Path) -> float | None:
    return _cores_of(_words(group / "cpu.max"))


def _limit_v1(group: Path) -> float | None:
    return _cores_of([*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")])


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # the outermost group has none
        return []


def _cores_of(quota_and_period: list[str]) -> float | None:
    """ "150000 100000" are one and a half; "max" and -1 are no limit."""
    if len(quota_and_period) != 2 or not all(word.isdecimal() for word in quota_and_period):
        return None
    quota, period = map(int, quota_and_period)
    return quota / period if quota and period else None
