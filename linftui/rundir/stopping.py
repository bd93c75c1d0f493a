"""How far a stop has come, from the evidence in the run directory: each stage is shown once it is true."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import EventRecord, ExitRecord, StateRecord, StopRequest

# Schedulers such as Slurm send these before a job's time is up: they mean "save and stop", as a person would.
WARNING_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True)
class StopStages:
    """The stages of stopping an attempt; times in seconds since 1970, None until a stage is reached."""

    attempt: int
    by: str
    requested: float
    deadline_s: float
    seen: float | None  # the ranks have noticed
    saved_step: int | None  # the checkpoint that a resume continues from
    exited: float | None
    killed: bool  # a second request was made


def stop_stages(paths: RunPaths, events: Sequence[EventRecord]) -> StopStages | None:
    """How far the stop of the current attempt has come, given the run's events; None: none was requested.

    Raises:
        RunDirectoryError: a record is damaged.
    """
    state = read_record(paths.state, StateRecord)
    request = None if state is None else read_record(paths.stop_request(state.attempt), StopRequest)
    if state is None or request is None:
        return None
    ended = read_record(paths.exit, ExitRecord)
    own = [event for event in events if event.attempt == state.attempt]
    seen = next((event.time for event in own if event.event == "stop-seen"), None)
    stopped = next((event for event in own if event.event in ("stopped", "finished")), None)
    return StopStages(
        attempt=state.attempt,
        by=request.by,
        requested=request.time,
        deadline_s=request.deadline_s,
        seen=seen,
        saved_step=None if stopped is None else stopped.step,
        exited=ended.time if ended is not None and ended.attempt == state.attempt else None,
        killed=os.path.exists(paths.kill_request(state.attempt)),
    )
