"""Owning the processes of one attempt: start them, watch the devices, pass on a stop, decide how it ended.

The supervisor writes state.json, exit.json and devices.jsonl, and nobody else does. It learns of the training
only what exit codes, error files and events say, and imports no torch. As a program,
`python -m linftui.launch.supervisor RUN`, it lives on its own; `linftui.launch.begin` starts it.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from linftui.errors import LinftuiError
from linftui.launch.control import announced_ranks, clear_for_next_attempt, end_members, stop_run
from linftui.launch.lock import sole_supervisor
from linftui.launch.plan import LaunchPlan
from linftui.launch.telemetry import Telemetry
from linftui.launch.verdict import verdict
from linftui.launch.worker_process import LifePipe, WorkerProcess
from linftui.rundir.liveness import describe_process, is_alive, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import (
    ExitRecord,
    ProcessRecord,
    StartRecord,
    StateRecord,
    StopRequest,
    encode,
)
from linftui.rundir.writer import cannot_write, write_record

HEARTBEAT_S = 10.0
LOST_RANK_GRACE_S = 2.0  # ranks of a run that is over leave one after the other
LAST_WORD_S = 600.0  # without its last word a run counts as crashed, so that is tried for long
POLL_S = 0.2


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
        self._stop_by: float | None = None  # when patience with a stop ends
        self._lost: ProcessRecord | None = None  # the first rank that was seen to be gone
        self._lost_at = 0.0
        self._members: list[ProcessRecord] = []  # the started process, and the ranks of torchrun
        with contextlib.ExitStack() as held:
            held.callback(sole_supervisor(paths).close)
            self.attempt = clear_for_next_attempt(paths)
            self._make_log_folder()
            self._write_state("starting")
            self._telemetry = Telemetry(paths, self.attempt, plan.devices)
            held.callback(self._telemetry.close)
            pipe = LifePipe()
            held.callback(pipe.close)
            rendezvous = _rendezvous(paths)
            held.callback(shutil.rmtree, rendezvous, ignore_errors=True)
            self._worker = self._start(checkpoint, pipe, rendezvous)
            self._members = [self._worker.identity] if self._worker.identity else []
            self._write_state("running")
            self._held = held.pop_all()  # until the attempt has ended

    def _make_log_folder(self) -> None:
        logs = self.paths.logs(self.attempt)
        try:
            logs.mkdir(parents=True)
        except OSError as error:
            raise cannot_write(logs, error) from error

    def _start(self, checkpoint: int | None, pipe: LifePipe, rendezvous: Path) -> WorkerProcess:
        paths, attempt, plan = self.paths, self.attempt, self.plan
        chosen = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
        task = ["train", str(paths.root), "--attempt", str(attempt), *chosen, "--supervisor-pipe", pipe.name]
        alone = plan.ranks == 1
        return WorkerProcess(
            plan.training_command(rendezvous, *task),
            plan.environment(),
            paths.rank_log(attempt, 0) if alone else paths.torchrun_log(attempt),
            "rank-0" if alone else "torchrun",
        )

    def _write_state(self, phase: str) -> None:
        me = describe_process(os.getpid(), "supervisor")
        write_record(
            self.paths.state,
            StateRecord(
                attempt=self.attempt,
                phase="running" if phase == "running" else "starting",
                host=this_host(),
                members=[*([me] if me else []), *self._members],
                devices=list(self.plan.devices),
                threads=self.plan.threads,
                time=time.time(),
            ),
        )

    def poll(self, wait_s: float = 0.0) -> ExitRecord | None:
        """How the attempt ended, once it has; waits for at most `wait_s`."""
        code = self._worker.wait(wait_s)
        if code is None:
            self._meet_ranks()
            self._mind_lost_rank()
            self._heed_requests()
            self._show_life()
            self._telemetry.sample([member.pid for member in self._members])
            return None
        with self._held:
            self._end_all()  # torchrun that was killed leaves its ranks
            lost = None if self._lost is None else self._lost.role
            record = verdict(self.paths, self.attempt, self.plan.ranks, code, lost)
            if self._is_current():
                self._leave_word(record)
        return record

    def _is_current(self) -> bool:
        """Whether no newer attempt has replaced this one."""
        try:
            state = read_record(self.paths.state, StateRecord)
        except LinftuiError:
            return True  # damaged by somebody; a newer attempt would have written it anew
        return state is None or state.attempt == self.attempt

    def _leave_word(self, record: ExitRecord) -> None:
        """Writes how the attempt ended; on a full disk it waits for somebody to make room."""
        give_up = time.monotonic() + LAST_WORD_S
        while True:
            try:
                write_record(self.paths.exit, record)
                return
            except LinftuiError:
                if time.monotonic() > give_up:
                    raise
            time.sleep(1.0)

    def _meet_ranks(self) -> None:
        """Records the ranks that torchrun has started, once they tell who they are."""
        if self.plan.ranks > 1 and len(self._members) <= self.plan.ranks:
            # A full disk must not end the training; the ranks' own files name them too.
            with contextlib.suppress(LinftuiError):
                ranks = announced_ranks(self.paths, self.attempt)
                new = [rank for rank in ranks if rank not in self._members]
                if new:
                    self._members += new
                    self._write_state("running")

    def _mind_lost_rank(self) -> None:
        """Ends the other ranks of one that is gone: they would wait for it.

        torchrun would do so too, but it first waits 30 s for those that wait for each other.
        """
        ranks = self._members[1:]
        if self._lost is None:
            self._lost = next((rank for rank in ranks if not is_alive(rank)), None)
            self._lost_at = time.monotonic()
        elif time.monotonic() > self._lost_at + 2 * LOST_RANK_GRACE_S:
            self._end_all()
        elif time.monotonic() > self._lost_at + LOST_RANK_GRACE_S:
            end_members(ranks)  # then torchrun leaves by itself

    def _heed_requests(self) -> None:
        """Ends the attempt where a stop was asked for twice, or takes too long."""
        if self._stop_by is None:
            request = _readable(self.paths.stop_request(self.attempt))
            if request is not None:
                self._stop_by = time.monotonic() + request.deadline_s
        elif self.paths.kill_request(self.attempt).exists():
            self._end_all()
        elif time.monotonic() > self._stop_by:
            self.ask_to_stop("the deadline")  # a second time, so that all can read how it ended
            self._end_all()

    def ask_to_stop(self, by: str = "the supervisor") -> None:
        """Asks the ranks to save and leave; asked again, ends them."""
        with contextlib.suppress(LinftuiError):
            stop_run(self.paths, by)

    def _end_all(self) -> None:
        self._meet_ranks()
        end_members(self._members)

    def _show_life(self) -> None:
        """A fresh state.json tells other hosts that somebody is here, however long a step takes."""
        if time.monotonic() - self._shown_life > HEARTBEAT_S:
            with contextlib.suppress(OSError):
                os.utime(self.paths.state)
            self._shown_life = time.monotonic()


def main(arguments: list[str]) -> int:
    """Supervises one attempt to its end; the first line on stdout tells how the start went."""
    parser = argparse.ArgumentParser(prog="python -m linftui.launch.supervisor", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--devices", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--checkpoint", type=int)
    options = parser.parse_args(arguments)
    if os.fork():  # nobody's child any more, so that nobody has to wait for it
        os._exit(0)
    plan = LaunchPlan(devices=tuple(options.devices.split(",")), threads=options.threads)
    try:
        supervisor = Supervisor(RunPaths(options.run), plan, options.checkpoint)
    except LinftuiError as error:
        _reply(StartRecord(message=error.message, hint=error.hint, exit_code=error.exit_code))
        return error.exit_code
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.ask_to_stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _reply(StartRecord(attempt=supervisor.attempt))
    _speak_into(supervisor.paths.supervisor_log(supervisor.attempt))
    print(f"attempt {supervisor.attempt}, {plan.ranks} rank(s) on {plan.spec}, {plan.threads} thread(s) each")
    while (ended := supervisor.poll(POLL_S)) is None:
        pass
    print(f"{ended.outcome}, exit code {ended.code}", ended.message, ended.hint)
    return 0


def _rendezvous(paths: RunPaths) -> Path:
    """A new folder where the ranks meet: local, for it needs locks, and nobody else's to read.

    A supervisor that was killed has left its own, which nobody needs any more.
    """
    prefix = f"linftui-{hashlib.sha256(os.fsencode(paths.root.absolute())).hexdigest()[:16]}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=prefix))


def _reply(record: StartRecord) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever started us is gone already
        os.write(sys.stdout.fileno(), encode(record) + b"\n")


def _speak_into(log: Path) -> None:
    """From here on the output goes to a log, and whoever reads the reply meets its end."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def _readable(path: Path) -> StopRequest | None:
    try:
        return read_record(path, StopRequest)
    except LinftuiError:
        return None  # whoever wrote it, it must not end a run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
