"""What Linux control groups (v1 or v2) say about this process."""

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def own_groups(controller: str, proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[Path]:
    """Where a controller ("cpu", "memory") may keep our limits: our group's folder, then its parents'.

    A container may see its own group as the outermost one, under whatever name /proc has for it. A folder may
    be missing; the files in it show whether it is of version 2 or 1.
    """
    with contextlib.suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text(errors="surrogateescape").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                mounts = [cgroups, cgroups / "unified"]
            elif controller in controllers.split(","):
                mounts = [cgroups / controllers, cgroups / controller]
            else:
                continue
            path = PurePosixPath(group.lstrip("/"))
            yield from (mount / part for mount in mounts for part in (path, *path.parents))


def words_of(file: Path) -> list[str]:
    """The words in such a file; empty where there is none, as in the outermost group."""
    try:
        return file.read_text(errors="replace").split()
    except OSError:
        return []
