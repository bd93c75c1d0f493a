"""Asking a run to stop, and making sure that nobody is left of an earlier attempt."""

import os
import signal
import time
from pathlib import Path

from linftui.errors import RunStateError
from linftui.rundir.liveness import describe_process, is_alive, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ProcessRecord, StateRecord, StopRequest
from linftui.rundir.state import run_state
from linftui.rundir.writer import write_record

ORPHAN_GRACE_S = 30.0  # a rank whose supervisor died gets so long to save and leave


def request_stop(paths: RunPaths, attempt: int, by: str) -> None:
    """Leaves a request that the attempt's ranks see at their next step boundary."""
    request = paths.stop_request(attempt)
    if not request.exists():
        write_record(request, StopRequest(attempt=attempt, time=time.time(), by=by))


def clear_for_next_attempt(paths: RunPaths, grace_s: float = ORPHAN_GRACE_S) -> int:
    """Makes sure that no process of the run is left, and returns the next attempt's number.

    A rank that outlived its supervisor has seen its pipe close and is saving a checkpoint: it is waited
    for, then killed. Nothing is signalled that is not provably the recorded process, and our own.

    Raises:
        RunStateError: the run is going on, here or on another host.
    """
    state = read_record(paths.state, StateRecord)
    if state is None:
        return _next_number(paths, 0)
    if state.host != this_host():
        if run_state(paths) in ("starting", "running", "stopping"):
            raise RunStateError(f"{paths.id} runs on {state.host.name}", "stop it there first")
        return _next_number(paths, state.attempt)
    supervisor = next((m for m in state.members if m.role == "supervisor"), None)
    if supervisor is not None and is_alive(supervisor) and supervisor.pid != os.getpid():
        raise RunStateError(f"{paths.id} is still running (process {supervisor.pid})", "stop it first")
    deadline = time.monotonic() + grace_s
    orphans = [member for member in state.members if member.pid != os.getpid() and _is_ours(member)]
    while any(map(is_alive, orphans)):
        if time.monotonic() > deadline + ORPHAN_GRACE_S:
            raise RunStateError(f"processes of {paths.id} cannot be ended", "look for them with ps")
        if time.monotonic() > deadline:
            for orphan in filter(is_alive, orphans):
                _kill(orphan)
        time.sleep(0.05)
    return _next_number(paths, state.attempt)


def _is_ours(process: ProcessRecord) -> bool:
    """Whether a recorded process is one of linftui's, whatever a stranger's state.json names."""
    try:
        return b"linftui" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    except OSError:
        return False


def _next_number(paths: RunPaths, attempt: int) -> int:
    """A number no attempt has taken, not even one that died before it wrote state.json."""
    names = [path.name.removeprefix("attempt-") for path in paths.logs(1).parent.glob("attempt-[0-9]*")]
    taken = [int(name) for name in names if name.isdecimal()]
    return max([attempt, *taken]) + 1


def _kill(process: ProcessRecord) -> None:
    if process.uid != os.getuid():
        raise RunStateError(f"process {process.pid} of the run belongs to another user", "end it first")
    # The descriptor pins the process down: from here on its pid cannot be given to another.
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if describe_process(process.pid, process.role) == process:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)
