"""Stopping a run: it is asked to save and exit; asked again, it is ended at once."""

import time

from linftui.actions.telling import Report
from linftui.actions.why_not import why_not
from linftui.errors import RunStateError, WorkerError
from linftui.launch.control import outlived_by_supervisor, stop_run
from linftui.rundir.ending import read_why_it_ended
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_record
from linftui.rundir.records import STOP_DEADLINE_S, EventName, EventRecord, StateRecord
from linftui.rundir.state import GOING_ON, State, run_state
from linftui.rundir.stopping import stop_stages

POLL_S = 0.1
SUPERVISOR_LATE_S = 5.0  # after a stop's deadline; a supervisor that has not ended its run by then never will


def stop(paths: RunPaths, by: str, deadline_s: float = STOP_DEADLINE_S, *, insist: bool) -> bool:
    """Asks a run to save and stop, or to end at once; returns whether it was the latter.

    Args:
        paths: the run directory.
        by: who asks, as shown to users.
        deadline_s: seconds after which the supervisor ends an attempt that has not stopped.
        insist: end it at once if it was already asked to stop; False: a second request changes nothing.

    Raises:
        RunStateError: there is nothing to stop, or its processes belong to another user or machine.
    """
    state = run_state(paths)
    why = why_not("stop", state, paths.id)
    if why and not outlived_by_supervisor(paths):
        raise RunStateError(why)
    return stop_run(paths, by, deadline_s, at_once=insist and state == "stopping")


def wait_until_stopped(paths: RunPaths, by: str, deadline_s: float, report: Report) -> State:
    """Waits for a run that was asked to stop to end, and ends it if its supervisor does not.

    Args:
        paths: the run directory.
        by: who asks, as shown to users.
        deadline_s: the deadline of the stop, in seconds.
        report: called with each stage once it is reached, and with how the run ended.

    Returns:
        The state of the run after it ended.

    Raises:
        WorkerError: it cannot be ended.
    """
    reader, reported = RunReader(paths), set[str]()
    current = read_record(paths.state, StateRecord)
    first = dict[EventName, EventRecord]()  # of each kind, of the attempt that was asked to stop
    give_up, insisted = time.monotonic() + deadline_s + SUPERVISOR_LATE_S, False
    while True:
        state = run_state(paths)
        if state in GOING_ON and time.monotonic() > give_up:
            if insisted:
                raise WorkerError(f"{paths.id} cannot be ended from here", "look for its processes with ps")
            report("its supervisor does not answer, asked to end at once")
            stop(paths, by, insist=True)
            give_up, insisted = time.monotonic() + SUPERVISOR_LATE_S, True
        for event in reader.each_event():
            if current is not None and event.attempt == current.attempt:
                first.setdefault(event.event, event)
        for stage in _reached(paths, list(first.values())):
            if stage not in reported:
                report(stage)
                reported.add(stage)
        if state not in GOING_ON:
            why = read_why_it_ended(paths, state, None if current is None else current.attempt)
            report(f"{state}{why and f', {why}'}")
            return state
        time.sleep(POLL_S)


def _reached(paths: RunPaths, events: list[EventRecord]) -> list[str]:
    """The stages of the stop that have been reached."""
    stages = stop_stages(paths, events)
    if stages is None:
        return []
    seen = ["seen by the ranks"] if stages.seen is not None else []
    return seen if stages.saved_step is None else [*seen, f"saved step {stages.saved_step:,}"]
