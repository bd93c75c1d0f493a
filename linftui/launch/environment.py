"""The environment of the processes we start: the user's own, without what would change their behaviour.

They start in the root folder. The current folder may be a stranger's, or may be deleted while they run.
"""

import os
import re
from collections.abc import Mapping

from linftui.launch.programs import search_path

START_FOLDER = "/"  # so that no folder of a user's is kept busy

# torchrun reads its options from PET_..., and ranks read their identity; the others set how they log, and
# some make them crash.
_OTHERS = re.compile(
    r"PET_.*|TORCH_?ELASTIC_.*|((LOCAL|GROUP|ROLE)_)?(WORLD_SIZE|RANK)|ROLE_NAME|MASTER_(ADDR|PORT)"
    r"|LOGLEVEL|TORCH_DISTRIBUTED_DEBUG|TORCH_LOGS(_OUT)?"
)
_PATHS = ("HOME", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "LINFTUI_CACHE", "MPLCONFIGDIR")
_PATH_LISTS = ("PYTHONPATH", "LD_LIBRARY_PATH")  # in which an empty entry is the current folder


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of this environment that our processes inherit, its paths made absolute.

    torchrun's settings are left out: ours are options on its command line.
    """
    kept = {name: value for name, value in environment.items() if not _OTHERS.fullmatch(name)}
    for name in _PATHS:
        if kept.get(name):
            kept[name] = _absolute(kept[name])
    for name in _PATH_LISTS:
        if name in kept:
            paths = map(_absolute, filter(None, kept[name].split(os.pathsep)))
            kept[name] = os.pathsep.join(filter(None, paths))
    return {
        **with_huge_pages(kept),
        "PATH": search_path(),  # matplotlib, for one, starts fc-list
        "PYTHONIOENCODING": "utf-8:backslashreplace",  # a path in a log may hold bytes that are not text
    }


def _absolute(path: str) -> str:
    """The path made absolute; "" where it is relative to a current folder that is gone."""
    if path.startswith("$"):  # the linker's $ORIGIN
        return path
    try:
        return os.path.abspath(os.path.expanduser(path))
    except FileNotFoundError:
        return ""


def with_huge_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment whose processes ask Linux for pages of 2 MiB, unless it already says whether they do.

    The gradient of 5120 x 5120 weights, freed and allocated again at each step, is 25,600 small pages, and
    touching them for the first time takes 30 % of a step at p = inf. torch's own THP_MEM_ALLOC_ENABLE helps
    as much there, but then tensors of 2 to 32 MiB, which would be reused, come from Linux each time. A libc
    other than glibc, or one before 2.35, ignores this.
    """
    tunables = environment.get("GLIBC_TUNABLES", "")
    if "glibc.malloc.hugetlb=" in tunables:
        return dict(environment)
    return {**environment, "GLIBC_TUNABLES": ":".join(filter(None, (tunables, "glibc.malloc.hugetlb=1")))}
