"""Asking a run to stop, ending its processes, and making sure that none of an earlier attempt is left."""

import contextlib
import os
import signal
import time

from msgspec import structs

from linftui.errors import RunDirectoryError, RunStateError
from linftui.launch.lock import sole_supervisor
from linftui.launch.outcome import attempt_outcome
from linftui.processes.members import announced_ranks, works_for
from linftui.processes.signalling import end_members
from linftui.rundir.liveness import is_alive, is_here
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import STOP_DEADLINE_S, ProcessRecord, StateRecord, StopRequest
from linftui.rundir.state import GOING_ON, run_state
from linftui.rundir.writer import write_record

ORPHAN_GRACE_S = 30.0  # how long a rank whose supervisor died gets to save and exit
SUPERVISOR_GRACE_S = 3.0  # how long a supervisor whose ranks were ended gets to write exit.json

GREATEST_ATTEMPT = 999_999


def stop_run(paths: RunPaths, by: str, deadline_s: float = STOP_DEADLINE_S, *, at_once: bool = False) -> bool:
    """Asks a run to save and stop, or ends it at once: then the last checkpoint counts.

    A run that was already asked to stop is not asked again. A run that has a supervisor and no ranks is ended
    in any case: its supervisor is frozen, or cannot write.

    Args:
        by: who asks, for people to read.
        deadline_s: the supervisor ends the attempt if it has not stopped after this many seconds.
        at_once: end it without saving.

    Returns:
        Whether it was ended.

    Raises:
        RunStateError: the run is not going on, or its processes are not ours to end.
    """
    going_on = run_state(paths)
    state = read_record(paths.state, StateRecord)
    stuck = going_on == "crashed" and outlived_by_supervisor(paths)
    if state is None or not (stuck or going_on in GOING_ON):
        raise RunStateError(f"{paths.id} is {going_on}: there is nothing to stop")
    request = StopRequest(attempt=state.attempt, time=time.time(), by=by, deadline_s=deadline_s)
    if not (at_once or stuck):
        _write_first(paths, request)
        return False
    try:
        _write_first(paths, request)  # unless there is one: the two requests together explain the end
        write_record(paths.kill_request(state.attempt), request)
    finally:  # on a full disk too
        if is_here(state.host):  # else its supervisor sees the request
            end_members(paths, _recorded(state))
            end_members(paths, announced_ranks(paths, state.attempt))
            _end_frozen_supervisor(paths, state)
    return True


def outlived_by_supervisor(paths: RunPaths) -> bool:
    """Whether a run has no ranks left, but a supervisor on this host: it is frozen, or cannot write."""
    state = read_record(paths.state, StateRecord)
    return state is not None and run_state(paths) == "crashed" and _supervisor(state) is not None


def _write_first(paths: RunPaths, request: StopRequest) -> None:
    """Writes a request to stop, unless there is one already."""
    path = paths.stop_request(request.attempt)
    if path.exists():
        return
    with contextlib.suppress(OSError):  # the folder may have been removed; the write below reports it
        paths.control.mkdir(exist_ok=True)
    write_record(path, request)


def _members(paths: RunPaths, state: StateRecord) -> list[ProcessRecord]:
    """The processes of the current attempt on this host, apart from its supervisor."""
    recorded = _recorded(state)
    # A supervisor that was killed may not have recorded all of them.
    return [*recorded, *(rank for rank in announced_ranks(paths, state.attempt) if rank not in recorded)]


def _recorded(state: StateRecord) -> list[ProcessRecord]:
    here = (member for member in state.members if is_here(state.host_of(member)))
    return [member for member in here if member.role != "supervisor"]


def _supervisor(state: StateRecord) -> ProcessRecord | None:
    """The current attempt's supervisor, if it is alive on this host and not this process."""
    if not is_here(state.host):
        return None
    known = (member for member in state.members if member.role == "supervisor")
    return next((member for member in known if is_alive(member) and member.pid != os.getpid()), None)


def _end_frozen_supervisor(paths: RunPaths, state: StateRecord) -> None:
    """Ends a supervisor that does not notice that its ranks were ended, and writes exit.json in its place."""
    supervisor = _supervisor(state)
    if supervisor is None or not works_for(supervisor, paths) or _exits(supervisor, SUPERVISOR_GRACE_S):
        return
    end_members(paths, [supervisor])
    if not _exits(supervisor, SUPERVISOR_GRACE_S):  # the kernel itself waits, for a file system that hangs
        raise RunStateError(f"process {supervisor.pid} of {paths.id} cannot be ended", "look for it with ps")
    with contextlib.closing(sole_supervisor(paths)):
        if run_state(paths) == "crashed":  # there is no exit.json
            ranks = sum(member.role.startswith("rank-") for member in state.members)
            ended = attempt_outcome(paths, state.attempt, ranks, -signal.SIGKILL)
            silent = "its supervisor did not answer"
            message = f"{ended.message}; {silent}" if ended.message else silent
            write_record(paths.exit, structs.replace(ended, message=message))


def _exits(process: ProcessRecord, patience_s: float) -> bool:
    """Whether a process is gone, or exits within `patience_s` seconds."""
    give_up = time.monotonic() + patience_s
    while is_alive(process):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


def clear_for_next_attempt(paths: RunPaths, grace_s: float = ORPHAN_GRACE_S) -> int:
    """Makes sure that no process of the run is left, and returns the next attempt's number.

    A rank that outlived its supervisor has seen its pipe close and is saving a checkpoint: it gets time to
    exit, then is killed. A process is signalled only if it provably is the recorded one and works for this
    run.

    Raises:
        RunStateError: the run is going on, here or on another host.
    """
    state = read_record(paths.state, StateRecord)
    if state is None:
        return _next_number(paths, 0)
    if not is_here(state.host):
        if run_state(paths) in GOING_ON:
            raise RunStateError(f"{paths.id} runs on {state.host.name}", "stop it there first")
        return _next_number(paths, state.attempt)
    supervisor = _supervisor(state)
    if supervisor is not None and works_for(supervisor, paths):
        raise RunStateError(f"{paths.id} is still running (process {supervisor.pid})", "stop it first")
    deadline = time.monotonic() + grace_s
    orphans = [member for member in _members(paths, state) if works_for(member, paths)]
    while any(map(is_alive, orphans)):
        if time.monotonic() > deadline + ORPHAN_GRACE_S:
            raise RunStateError(f"processes of {paths.id} cannot be ended", "look for them with ps")
        if time.monotonic() > deadline:
            end_members(paths, orphans)
        time.sleep(0.05)
    return _next_number(paths, state.attempt)


def _next_number(paths: RunPaths, attempt: int) -> int:
    """A number no attempt has taken, not even one that died before it wrote state.json."""
    names = [path.name.removeprefix("attempt-") for path in paths.logs(1).parent.glob("attempt-[0-9]*")]
    taken = [int(name) for name in names if name.isdecimal() and len(name) <= len(str(GREATEST_ATTEMPT))]
    number = max([attempt, *taken]) + 1
    if number > GREATEST_ATTEMPT:
        raise RunDirectoryError(
            f"{paths.root}: attempt numbers end at {GREATEST_ATTEMPT:,}",
            "a higher one in logs/ or state.json is a mistake",
        )
    return number
