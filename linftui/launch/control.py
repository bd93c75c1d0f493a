"""Asking a run to stop, ending its processes, and making sure that nobody is left of an earlier attempt."""

import os
import signal
import time
from pathlib import Path

from linftui.errors import RunStateError
from linftui.rundir.liveness import describe_process, is_alive, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import MemberRecord, ProcessRecord, StateRecord, StopRequest
from linftui.rundir.state import run_state
from linftui.rundir.writer import write_record

ORPHAN_GRACE_S = 30.0  # a rank whose supervisor died gets so long to save and leave
STOP_DEADLINE_S = 120.0


def stop_run(paths: RunPaths, by: str, deadline_s: float = STOP_DEADLINE_S) -> None:
    """Asks a run to save and stop; asked again, ends it at once, and the last checkpoint counts.

    Args:
        by: who asks, for those who read of it.
        deadline_s: the supervisor ends the attempt if it has not stopped after so many seconds.

    Raises:
        RunStateError: the run is not going on, or its processes are not ours to end.
    """
    going_on = run_state(paths)
    state = read_record(paths.state, StateRecord)
    if state is None or going_on not in ("starting", "running", "stopping"):
        raise RunStateError(f"{paths.id} is {going_on}: there is nothing to stop")
    request = StopRequest(attempt=state.attempt, time=time.time(), by=by, deadline_s=deadline_s)
    if not paths.stop_request(state.attempt).exists():
        write_record(paths.stop_request(state.attempt), request)
        return
    try:
        write_record(paths.kill_request(state.attempt), request)
    finally:  # on a full disk too
        if state.host == this_host():  # else its supervisor sees the request
            end_members(_recorded(state))
            end_members(announced_ranks(paths, state.attempt))


def announced_ranks(paths: RunPaths, attempt: int) -> list[ProcessRecord]:
    """The ranks of an attempt, of this host, that have told which processes they are."""
    told = [read_record(path, MemberRecord) for path in sorted(paths.logs(attempt).glob("member-*.json"))]
    return [member.process for member in told if member is not None and member.host == this_host()]


def _members(paths: RunPaths, state: StateRecord) -> list[ProcessRecord]:
    """The processes of the current attempt apart from its supervisor."""
    recorded = _recorded(state)
    # A supervisor that was killed may not have recorded all of them.
    return [*recorded, *(rank for rank in announced_ranks(paths, state.attempt) if rank not in recorded)]


def _recorded(state: StateRecord) -> list[ProcessRecord]:
    return [member for member in state.members if member.role != "supervisor"]


def end_members(processes: list[ProcessRecord]) -> None:
    """Kills processes of a run, each only if it is provably the recorded one, linftui's, and our own."""
    for process in filter(_is_ours, filter(is_alive, processes)):
        send_signal(process, signal.SIGKILL)


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
    orphans = [member for member in _members(paths, state) if _is_ours(member)]
    while any(map(is_alive, orphans)):
        if time.monotonic() > deadline + ORPHAN_GRACE_S:
            raise RunStateError(f"processes of {paths.id} cannot be ended", "look for them with ps")
        if time.monotonic() > deadline:
            end_members(orphans)
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


def send_signal(process: ProcessRecord, number: signal.Signals) -> None:
    """Signals just this process; one that is gone is no error.

    Raises:
        RunStateError: it belongs to another user.
    """
    if process.uid != os.getuid():
        raise RunStateError(f"process {process.pid} of the run belongs to another user", "end it first")
    # The descriptor pins the process down: from here on its pid cannot be given to another.
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if describe_process(process.pid, process.role) == process:
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
