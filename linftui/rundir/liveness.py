"""Whether a recorded process is alive, although pids are reused, and whether a run is a copy.

A process is identified by host (boot, process namespace), pid, kernel start time and owner together, all read
from /proc. Where it cannot be inspected, because it runs on another host, in another container, or behind a
/proc that hides other users' processes, the files that it writes show whether it is alive. One rule serves
runs and certifications: `life`.
"""

import os
import platform
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

from linftui.rundir.records import HostRecord, ProcessRecord

SILENCE_S = 120.0  # a process that cannot be inspected counts as lost after this long without news

Life = Literal["alive", "gone", "lost"]


@cache
def this_host() -> HostRecord:
    """Where this process's pids mean something."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot_id = namespace = ""
    return HostRecord(name=platform.node(), boot_id=boot_id, pid_namespace=namespace, machine=_machine_id())


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def is_here(host: HostRecord) -> bool:
    """Whether the pids of `host` mean the same processes here. Its name may have changed since."""
    own = this_host()
    same = (host.boot_id, host.pid_namespace) == (own.boot_id, own.pid_namespace)
    return same and (bool(own.boot_id) or host.name == own.name)


def has_rebooted(host: HostRecord, silent_s: float) -> bool:
    """Whether `host` is this machine before its last boot: none of its processes is left.

    Two machines may share a name. Where their ids do not distinguish them, only what was last written before
    this machine's boot can come from an earlier one.
    """
    own = this_host()
    if not own.boot_id or host.name != own.name or host.boot_id == own.boot_id:
        return False
    if host.machine and own.machine:
        return host.machine == own.machine
    return silent_s > time.clock_gettime(time.CLOCK_BOOTTIME)


def describe_process(pid: int, role: str) -> ProcessRecord | None:
    """The identity of a running process, or None where there is none (a zombie counts as none)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    # The command's name, in parentheses, may itself hold blanks and parentheses, and need not be text.
    fields = status[status.rindex(b")") + 2 :].split()
    if fields[0] in b"ZX":
        return None
    return ProcessRecord(role=role, pid=pid, start_time=int(fields[19]), uid=uid)


def is_alive(process: ProcessRecord) -> bool:
    """Whether exactly this process can be seen to run on this host."""
    return describe_process(process.pid, process.role) == process


def is_hidden(process: ProcessRecord) -> bool:
    """Whether another user's process has this pid, and /proc is mounted so that it hides it."""
    try:
        os.kill(process.pid, 0)
    except PermissionError:
        return not os.access(f"/proc/{process.pid}/stat", os.R_OK)
    except (ProcessLookupError, OverflowError):
        return False
    return False


def life(processes: Iterable[tuple[HostRecord, ProcessRecord | None]], silent_s: float) -> Life:
    """Whether one of these processes is alive.

    Args:
        processes: their identities, as far as recorded, each with the host that it was started on.
        silent_s: `seconds_silent` of the files that they write; it decides where they cannot be inspected.

    Returns:
        "alive"; "gone", which is certain; "lost": they cannot be inspected, and have long written nothing.
    """
    lives = {_life_of(host, process, silent_s) for host, process in processes}
    return "alive" if "alive" in lives else "lost" if "lost" in lives else "gone"


def _life_of(host: HostRecord, process: ProcessRecord | None, silent_s: float) -> Life:
    if is_here(host):
        if process is not None and is_alive(process):
            return "alive"
        if process is None or not is_hidden(process):
            return "gone"
    elif has_rebooted(host, silent_s):
        return "gone"
    return "alive" if silent_s <= SILENCE_S else "lost"


def seconds_silent(files: Iterable[Path]) -> float:
    """Seconds since any of these files was written.

    A time in the future counts like one equally far in the past: it proves no life, unless a clock is only
    slightly wrong.
    """
    now, silent = time.time(), float("inf")
    for path in files:
        try:
            silent = min(silent, abs(now - path.stat().st_mtime))
        except OSError:
            continue
    return silent


def folder_identity(folder: Path) -> str:
    """Which folder this is, "<device>:<inode>", wherever it is moved to; empty where there is none."""
    try:
        status = os.stat(folder)
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"


def is_same_folder(recorded: str, folder: Path, host: HostRecord) -> bool:
    """Whether a record that was written on `host` is about this very folder, not one that this is a copy of.

    A device has another number on another host, or after a reboot; an older linftui recorded nothing.
    """
    current = folder_identity(folder)
    if is_here(host) or not recorded:
        return recorded in ("", current)
    return recorded.partition(":")[2] == current.partition(":")[2]
