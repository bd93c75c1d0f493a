"""Owning the processes of one attempt: start them, pass on a stop, decide how it ended.

The supervisor writes state.json and exit.json and nobody else does. It learns of the training only what
its exit code, error files and events say, and imports no torch.
"""

import os
import time
from pathlib import Path

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
        self.attempt = clear_for_next_attempt(paths)
        try:
            paths.logs(self.attempt).mkdir(parents=True)
        except FileExistsError:
            raise RunStateError(f"{paths.id} is just being started by somebody else") from None
        except OSError as error:
            raise cannot_write(paths.logs(self.attempt), error) from error
        self._write_state("starting", None)
        self._worker = WorkerProcess(
            plan.worker_command("train", str(paths.root), *self._arguments(checkpoint)),
            plan.environment(),
            self.log,
            "rank-0",
        )
        self._write_state("running", self._worker.identity)

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
            return None
        record = self._verdict(code)
        state = read_record(self.paths.state, StateRecord)
        if state is None or state.attempt == self.attempt:  # else a newer attempt has replaced this one
            write_record(self.paths.exit, record)
        self._worker.close()
        return record

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


def _last_event(paths: RunPaths, attempt: int) -> str | None:
    reader, last = RunReader(paths), None
    while events := reader.events():
        last = events[-1].event if events[-1].attempt == attempt else last
    return last
