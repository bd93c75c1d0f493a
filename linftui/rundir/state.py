"""What a run is doing, derived from evidence each time it is asked; nobody has to remember it."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from linftui.rundir.liveness import is_alive, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ExitRecord, HostRecord, ProcessRecord, StateRecord

State = Literal[
    "pending", "starting", "running", "stopping", "stopped", "finished", "failed", "crashed", "lost"
]

SILENCE_S = 120.0  # without news for so long, a run on another host counts as lost


def derive_state(
    state: StateRecord | None,
    exit: ExitRecord | None,
    *,
    stop_requested: bool,
    silent_s: float,
    host: HostRecord,
    alive: Callable[[ProcessRecord], bool] = is_alive,
) -> State:
    """The state that the evidence supports.

    Args:
        state: what the current attempt's supervisor last wrote; None: never started.
        exit: how an attempt ended; it counts only if it is the current one.
        stop_requested: whether somebody asked the current attempt to stop.
        silent_s: seconds since anything in the run directory was written.
        host: where this is asked; pids of another host cannot be looked at from here.
        alive: whether a process of this host runs.
    """
    if exit is not None and (state is None or exit.attempt == state.attempt):
        return exit.outcome  # also where somebody has deleted a damaged state.json
    if state is None:
        return "pending"
    if state.host != host:
        if silent_s > SILENCE_S:
            return "lost"
    elif not any(alive(member) for member in state.members):
        return "crashed"  # all gone, and none of them left word
    if stop_requested:
        return "stopping"
    return state.phase


def run_state(paths: RunPaths) -> State:
    """`derive_state` for a run directory as it is now."""
    state = read_record(paths.state, StateRecord)
    # Before exit.json is read: a run that ends in between has left word, and must not count as crashed.
    living = [member for member in (state.members if state else []) if is_alive(member)]
    return derive_state(
        state,
        read_record(paths.exit, ExitRecord),
        stop_requested=state is not None and os.path.exists(paths.stop_request(state.attempt)),
        silent_s=seconds_silent([paths.state, paths.metrics, paths.events]),
        host=this_host(),
        alive=living.__contains__,
    )


def seconds_silent(files: Iterable[Path]) -> float:
    """Seconds since any of these files was written."""
    newest = 0.0
    for path in files:
        try:
            newest = max(newest, path.stat().st_mtime)
        except OSError:
            continue
    return time.time() - newest
