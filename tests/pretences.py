"""Ways to make a run look as if somebody were at work on it."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from msgspec import structs

from linftui.rundir.liveness import describe_process, folder_identity, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import StateRecord
from linftui.rundir.writer import write_record


def revive(run: Path, *, attempt: int = 2) -> RunPaths:
    """Makes a finished run look as if this very process trained it on, as its next attempt."""
    paths = RunPaths(run)
    state = read_record(paths.state, StateRecord)
    me = describe_process(os.getpid(), "supervisor")
    assert state is not None and me is not None
    state = structs.replace(
        state, attempt=attempt, phase="running", host=this_host(), members=[me], folder=folder_identity(run)
    )
    paths.exit.unlink(missing_ok=True)
    paths.logs(attempt).mkdir()
    paths.rank_log(attempt, 0).touch()
    write_record(paths.state, state)
    return paths


@contextlib.contextmanager
def pretend_to_work_for(
    paths: RunPaths, *module: str, seconds: float | None = None, user: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that only waits, with the command line of a rank of this run, or of the module given.

    Waits for so many seconds, else until it is killed.
    """
    wait = "read nothing" if seconds is None else f"sleep {seconds}"
    command = [
        "/bin/sh",
        "-c",
        f"echo; {wait}",
        "-m",
        *(module or ("linftui.worker", "train")),
        str(paths.root),
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, user=user, **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()  # from here on it has its name
        try:
            yield process
        finally:
            process.kill()
