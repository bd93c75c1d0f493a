"""What a run is doing, derived from evidence each time it is asked for, and stored nowhere."""

import os
from typing import Literal

from linftui.rundir.liveness import Life, is_same_folder, life, seconds_silent
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ExitRecord, StateRecord

State = Literal[
    "pending", "starting", "running", "stopping", "stopped", "finished", "failed", "crashed", "lost"
]

GOING_ON: tuple[State, ...] = ("starting", "running", "stopping")
ACTIVE: tuple[State, ...] = ("pending", *GOING_ON)  # it has not ended

HEARTBEAT_S = 10.0  # a supervisor that has ranks to supervise touches state.json about this often
FROZEN_S = 3 * HEARTBEAT_S


def derive_state(
    state: StateRecord | None,
    exit: ExitRecord | None,
    *,
    stop_requested: bool,
    life: Life,
    copied: bool,
) -> State:
    """The state that the evidence supports.

    Args:
        state: what the current attempt's supervisor last wrote; None: never started.
        exit: how an attempt ended; it counts only if it is the current one.
        stop_requested: whether the current attempt was asked to stop.
        life: whether processes of the current attempt are alive, see `run_life`.
        copied: whether the folder is a copy of the one that the attempt runs in.
    """
    if exit is not None and (state is None or exit.attempt == state.attempt):
        return exit.outcome  # also where a damaged state.json was deleted
    if state is None:
        return "pending"
    if life == "gone":
        return "crashed"  # without having written how it ended
    if copied:
        return "stopped"  # the original may go on, but no process works on its copy
    if life == "lost":
        return "lost"
    return "stopping" if stop_requested else state.phase


def run_state(paths: RunPaths) -> State:
    """`derive_state` for a run directory as it is now."""
    state = read_record(paths.state, StateRecord)
    # Checked before exit.json is read: a run that ends in between has written it, and has not crashed.
    alive: Life = "gone" if state is None else run_life(paths, state)
    return derive_state(
        state,
        read_record(paths.exit, ExitRecord),
        stop_requested=state is not None and os.path.exists(paths.stop_request(state.attempt)),
        life=alive,
        copied=state is not None and not is_same_folder(state.folder, paths.root, state.host),
    )


def run_life(paths: RunPaths, state: StateRecord) -> Life:
    """Whether the current attempt's processes are alive: a supervisor alone does not count for long.

    It writes how the attempt ended as soon as the ranks are gone. A supervisor that does not is frozen or
    cannot write, and no longer touches state.json.
    """
    silent_s = seconds_silent([paths.state, paths.metrics, paths.events])
    members = [(state.host_of(member), member) for member in state.members]
    found = life(members or [(state.host, None)], silent_s)
    workers = [(host, member) for host, member in members if member.role != "supervisor"]
    if found == "alive" and workers and seconds_silent([paths.state]) > FROZEN_S:
        return life(workers, silent_s)
    return found
