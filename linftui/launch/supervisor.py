"""Owning the processes of one attempt: start them, pass on a stop, decide how it ended.

The supervisor writes state.json and exit.json and nobody else does. It learns of the training only what
its exit code, error files and events say, and imports no torch.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import IO

from msgspec import structs

from linftui.errors import LinftuiError, RunStateError
from linftui.launch.control import clear_for_next_attempt, request_stop
from linftui.launch.plan import LaunchPlan
from linftui.launch.worker_process import WorkerProcess
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_record
from linftui.rundir.records import ErrorRecord, ExitRecord, ProcessRecord, StateRecord
from linftui.rundir.writer import cannot_write, write_record

HEARTBEAT_S = 10.0


class Supervisor:
    """One attempt at a run.

    Args:
        paths: the run directory.
        plan: devices and threads.
        checkpoint: the step to go on from; None: the newest checkpoint, or the beginning.

    Raises:
        RunStateError: the run is going on already.
    """

    def __init__(self, paths: RunPaths, plan: LaunchPlan, checkpoint: int | None = None) -> None:
        self.paths, self.plan = paths, plan
        self._shown_life = time.monotonic()
        self._lock = _sole_supervisor(paths)
        try:
            self.attempt = clear_for_next_attempt(paths)
            self._worker = self._start(checkpoint)
        except BaseException:
            self._lock.close()
            raise

    def _start(self, checkpoint: int | None) -> WorkerProcess:
        logs = self.paths.logs(self.attempt)
        try:
            logs.mkdir(parents=True)
        except OSError as error:
            raise cannot_write(logs, error) from error
        self._write_state("starting", None)
        command = self.plan.worker_command("train", str(self.paths.root), *self._arguments(checkpoint))
        worker = WorkerProcess(command, self.plan.environment(), self.log, "rank-0")
        self._write_state("running", worker.identity)
        return worker

    @property
    def log(self) -> Path:
        """Where the rank's output goes."""
        return self.paths.rank_log(self.attempt, 0)

    def _arguments(self, checkpoint: int | None) -> list[str]:
        chosen = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
        return ["--attempt", str(self.attempt), *chosen]

    def _write_state(self, phase: str, rank: ProcessRecord | None) -> None:
        me = describe_process(os.getpid(), "supervisor")
        write_record(
            self.paths.state,
            StateRecord(
                attempt=self.attempt,
                phase="running" if phase == "running" else "starting",
                host=this_host(),
                members=[member for member in (me, rank) if member is not None],
                devices=list(self.plan.devices),
                threads=self.plan.threads,
                time=time.time(),
            ),
        )

    def poll(self, wait_s: float = 0.0) -> ExitRecord | None:
        """How the attempt ended, once it has; waits for at most `wait_s`."""
        code = self._worker.wait(wait_s) if wait_s else self._worker.poll()
        if code is None:
            self._show_life()
            return None
        record = self._verdict(code)
        state = read_record(self.paths.state, StateRecord)
        if state is None or state.attempt == self.attempt:  # else a newer attempt has replaced this one
            write_record(self.paths.exit, record)
        self._worker.close()
        self._lock.close()
        return record

    def _show_life(self) -> None:
        """A fresh state.json tells other hosts that somebody is here, however long a step takes."""
        if time.monotonic() - self._shown_life > HEARTBEAT_S:
            with contextlib.suppress(OSError):
                os.utime(self.paths.state)
            self._shown_life = time.monotonic()

    def request_stop(self, by: str) -> None:
        """Asks the ranks to save and leave at their next step boundary."""
        request_stop(self.paths, self.attempt, by)

    def kill(self) -> None:
        """Ends the ranks at once; the last checkpoint stays."""
        self._worker.kill()

    def _verdict(self, code: int) -> ExitRecord:
        ended = ExitRecord(attempt=self.attempt, outcome="crashed", code=code, time=time.time())
        if code == 0:
            finished = _last_event(self.paths, self.attempt) == "finished"
            return structs.replace(ended, outcome="finished" if finished else "stopped")
        try:
            error = read_record(self.paths.error(self.attempt, 0), ErrorRecord)
        except LinftuiError:
            error = None
        if error is not None:
            return structs.replace(ended, outcome="failed", message=error.message, hint=error.hint)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return structs.replace(ended, message=f"the training process {how}", hint=f"its log is {self.log}")


def _sole_supervisor(paths: RunPaths) -> IO[bytes]:
    """Takes the run for as long as the file stays open; the kernel lets go of it with a dead process.

    Raises:
        RunStateError: another process supervises the run.
    """
    path, flags = paths.control / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        lock = open(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644), "r+b", buffering=0)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunStateError(f"{paths.id} is still running, or just being started", "stop it first") from None
    except OSError:
        pass  # no locks on this file system; the attempt's number still fences writers
    return lock


def _last_event(paths: RunPaths, attempt: int) -> str | None:
    events = RunReader(paths).events()
    return events[-1].event if events and events[-1].attempt == attempt else None
