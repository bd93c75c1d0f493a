"""An empty run directory, processes that stand for those of a run, and what they say of themselves."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from linftui.rundir.liveness import describe_process, folder_identity, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import HostRecord, MemberRecord, ProcessRecord, StateRecord
from linftui.rundir.writer import write_record

GONE = ProcessRecord(role="supervisor", pid=2**22 + 1, start_time=1, uid=os.getuid())  # above the highest pid
ELSEWHERE = structs.replace(this_host(), name="elsewhere", boot_id="another boot")


def empty_run(folder: Path) -> RunPaths:
    """A run directory, `run` in that folder, in which nothing has happened yet."""
    paths = RunPaths(folder / "run")
    paths.control.mkdir(parents=True)
    paths.meta.write_text("{}")
    return paths


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


def described(process: subprocess.Popen[bytes], role: str = "rank-0") -> ProcessRecord:
    """Who a process is that was just started."""
    while process.poll() is None and not Path(f"/proc/{process.pid}/cmdline").read_bytes():
        pass  # Popen returns a moment before its process has the name that it is known by
    record = describe_process(process.pid, role)
    assert record is not None
    return record


def announce(
    paths: RunPaths, process: ProcessRecord, attempt: int = 1, host: HostRecord | None = None
) -> None:
    """What a rank that `torchrun` has started says of itself."""
    paths.logs(attempt).mkdir(parents=True, exist_ok=True)
    member = MemberRecord(host=host or this_host(), process=process)
    write_record(paths.member(attempt, int(process.role.removeprefix("rank-"))), member)


def is_spared(process: subprocess.Popen[bytes]) -> bool:
    """Whether nobody has signalled a process."""
    time.sleep(0.05)  # long enough for a signal to arrive
    return process.poll() is None


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """A run directory in which nothing has happened yet."""
    return empty_run(tmp_path)


@pytest.fixture
def sleeper(paths: RunPaths) -> Iterator[subprocess.Popen[bytes]]:
    """A process that may be ended, for its command line says that it works for the run."""
    with pretend_to_work_for(paths) as process:
        yield process
