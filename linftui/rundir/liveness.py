"""Telling a living process from a dead one whose pid was given to another.

A pid alone proves nothing: it is reused. A process is known by host (name, boot, process namespace), pid,
kernel start time and owner together, all read from /proc.
"""

import os
import platform
from functools import cache
from pathlib import Path

from linftui.rundir.records import HostRecord, ProcessRecord


@cache
def this_host() -> HostRecord:
    """Where this process's pids mean something."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot_id = namespace = ""
    return HostRecord(name=platform.node(), boot_id=boot_id, pid_namespace=namespace)


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
    """Whether just this process, on this host, still runs."""
    return describe_process(process.pid, process.role) == process
