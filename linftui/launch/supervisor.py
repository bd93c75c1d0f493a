"""Owning the processes of one attempt: start them, watch the devices, pass on a stop, decide how it ended.

Only the supervisor writes state.json, exit.json and devices.jsonl. It knows the training from exit codes,
error files, events and the ranks' reports alone, and does not import torch. `linftui.launch.begin` starts it
as a program that outlives the command, `python -m linftui.launch.supervisor RUN`.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Literal

from msgspec import structs

from linftui import memory
from linftui.errors import LinftuiError, RunStateError, StaleAttemptError
from linftui.launch.control import clear_for_next_attempt, stop_run
from linftui.launch.lock import sole_supervisor
from linftui.launch.outcome import attempt_outcome
from linftui.launch.plan import LaunchPlan
from linftui.launch.rendezvous import check_temporary_folder, make_rendezvous
from linftui.launch.telemetry import Telemetry
from linftui.launch.worker_process import WorkerProcess
from linftui.processes.answer import send_answer
from linftui.processes.detaching import detach, redirect_output
from linftui.processes.life_pipe import LifePipe
from linftui.processes.members import announced_ranks
from linftui.processes.reports import RankReports
from linftui.processes.signalling import ask_for_stack, end_processes, ignore_warning_signals
from linftui.rundir.fence import AttemptFence
from linftui.rundir.liveness import describe_process, folder_identity, is_alive, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import (
    ExitRecord,
    ProcessRecord,
    StartRecord,
    StateRecord,
    StopRequest,
)
from linftui.rundir.state import HEARTBEAT_S
from linftui.rundir.stopping import WARNING_SIGNALS
from linftui.rundir.writer import ReservedRecord, cannot_write, write_record

LOST_RANK_GRACE_S = 2.0  # the ranks of a finished run exit one after the other
LOST_FOLDER_S = 60.0  # ranks whose folder is gone notice at the next step
STACK_DUMP_S = 2.0  # how long a rank that hangs gets to write its stack
EXIT_RECORD_S = 600.0  # how long writing exit.json is tried: without it a run counts as crashed
POLL_S = 0.2


class Supervisor:
    """One attempt at a run.

    Args:
        paths: the run directory.
        plan: devices and threads.
        checkpoint: the step to continue from; None: the newest checkpoint, or the beginning.

    Raises:
        RunStateError: the run is already going on.
    """

    def __init__(self, paths: RunPaths, plan: LaunchPlan, checkpoint: int | None = None) -> None:
        self.paths, self.plan = paths, plan
        self._nonce = secrets.token_hex(8)
        self._kernel_kills = memory.KernelKills()
        self._shown_life = time.monotonic()
        self._stop_by: float | None = None  # when patience with a stop ends
        self._lost: ProcessRecord | None = None  # the first rank that was seen to be gone
        self._lost_at = 0.0
        self._hung: int | None = None  # a rank that stopped showing life
        self._hung_at = 0.0
        self._terminated = False  # a signal asked for an end
        self._ended: ExitRecord | None = None
        self._phase: Literal["starting", "running"] = "starting"
        self._members: list[ProcessRecord] = []  # the started process, and the ranks of torchrun
        with contextlib.ExitStack() as held:
            held.callback(sole_supervisor(paths).close)
            self.attempt = clear_for_next_attempt(paths)
            self._make_log_folder()
            self._write_state()
            self._fence = AttemptFence(paths, self.attempt, self._nonce)
            held.callback(self._fence.folder.close)
            self._exit_record = ReservedRecord(paths.exit)
            self._telemetry = Telemetry(paths, self.attempt, plan.devices)
            held.callback(self._telemetry.close)
            pipe, self._reports = LifePipe(), RankReports(plan.ranks)
            held.callback(pipe.close)
            held.callback(self._reports.close)
            rendezvous = make_rendezvous(paths)
            held.callback(shutil.rmtree, rendezvous, ignore_errors=True)
            self._worker = self._start(checkpoint, pipe, rendezvous)
            self._members = [self._worker.identity] if self._worker.identity else []
            self._write_state()
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
        task = [
            "train", str(paths.root), "--attempt", str(attempt), "--nonce", self._nonce, *chosen,
            "--supervisor-pipe", pipe.name, "--report-pipe", self._reports.name,
        ]  # fmt: skip
        alone = plan.ranks == 1
        return WorkerProcess(
            plan.training_command(rendezvous, *task),
            plan.environment(),
            paths.rank_log(attempt, 0) if alone else paths.torchrun_log(attempt),
            "rank-0" if alone else "torchrun",
        )

    def _write_state(self) -> None:
        me = describe_process(os.getpid(), "supervisor")
        write_record(
            self.paths.state,
            StateRecord(
                attempt=self.attempt,
                phase=self._phase,
                host=this_host(),
                members=[*([me] if me else []), *self._members],
                devices=list(self.plan.devices),
                threads=self.plan.threads,
                time=time.time(),
                nonce=self._nonce,
                folder=folder_identity(self.paths.root),
            ),
        )

    def poll(self, wait_s: float = 0.0) -> ExitRecord | None:
        """How the attempt ended, once it has; waits for at most `wait_s`."""
        if self._ended is None:
            self._ended = self._poll(wait_s)
        return self._ended

    def _poll(self, wait_s: float) -> ExitRecord | None:
        code = self._worker.wait(wait_s)
        self._reports.read()
        if code is None:
            self._kernel_kills.look()
            if self._owns_folder():
                self._record_ranks()
                self._note_first_step()
                self._handle_requests()
                self._show_life()
            elif time.monotonic() > self._shown_life + LOST_FOLDER_S:
                self._end_all()  # they should have noticed too
            self._end_after_lost_rank()
            self._end_after_silent_rank()
            self._telemetry.sample([member.pid for member in self._members])
            return None
        with self._held:
            self._end_all()  # a torchrun that was killed leaves its ranks running
            paths = self._own_paths()
            record = attempt_outcome(
                paths or self.paths,
                self.attempt,
                self.plan.ranks,
                code,
                lost=None if self._lost is None else int(self._lost.role.removeprefix("rank-")),
                hung=self._hung,
                starved=self._kernel_kills.some_recently(),
                reported=self._reports.errors,
            )
            if record.outcome == "crashed" and not self._owns_folder():
                record = structs.replace(
                    record, message=f"{self.paths.root} was moved or removed while it trained", hint=""
                )
            self._write_exit(record)
        return record

    def _owns_folder(self) -> bool:
        """Whether the run's folder is still where it was and this attempt's; if not, the ranks notice too."""
        try:
            self._fence.check()
        except StaleAttemptError:
            return False
        except LinftuiError:
            pass  # state.json is damaged; a newer attempt would have written a whole one
        return True

    def _own_paths(self) -> RunPaths | None:
        """The run's folder, wherever it was moved to; None where it is another attempt's, or gone."""
        if self._owns_folder():
            return self.paths
        moved = RunPaths(self._fence.folder.whereabouts)
        try:
            state = read_record(moved.state, StateRecord)
        except LinftuiError:
            return None
        own = state is not None and (state.attempt, state.nonce) == (self.attempt, self._nonce)
        return moved if own else None

    def _write_exit(self, record: ExitRecord) -> None:
        """Writes exit.json into the attempt's own folder, once that is possible."""
        give_up = time.monotonic() + EXIT_RECORD_S
        while (paths := self._own_paths()) is not None:
            try:
                if paths is self.paths:
                    self._exit_record.write(record)
                else:
                    write_record(paths.exit, record)
                return
            except LinftuiError:
                if time.monotonic() > give_up:
                    raise
            time.sleep(1.0)

    def _record_ranks(self) -> None:
        """Records the ranks that torchrun has started, once they have announced themselves."""
        if self.plan.ranks > 1 and len(self._members) <= self.plan.ranks:
            # A full disk must not end the training; the ranks' own files identify them too.
            with contextlib.suppress(LinftuiError):
                ranks = announced_ranks(self.paths, self.attempt)
                new = [rank for rank in ranks if rank not in self._members]
                if new:
                    self._members += new
                    self._write_state()

    def _note_first_step(self) -> None:
        """Marks the run as running; until its first step it imports, loads and compiles, perhaps for long."""
        if self._phase == "starting" and self._reports.begun:
            self._phase = "running"
            try:
                self._write_state()
            except LinftuiError:  # a full disk must not end the training; the next poll tries again
                self._phase = "starting"

    def _end_after_lost_rank(self) -> None:
        """Ends the other ranks once one is gone: they would wait for it.

        torchrun would do so too, but first waits 30 s for ranks that wait for each other.
        """
        ranks = self._members[1:]
        if self._lost is None:
            self._lost = next((rank for rank in ranks if not is_alive(rank)), None)
            self._lost_at = time.monotonic()
        elif time.monotonic() > self._lost_at + 2 * LOST_RANK_GRACE_S:
            self._end_all()
        elif time.monotonic() > self._lost_at + LOST_RANK_GRACE_S:
            self._end(ranks)  # then torchrun exits by itself

    def _end_after_silent_rank(self) -> None:
        """Ends the attempt where a rank hangs, once the rank has written to its log what it was doing."""
        if self._hung is None:
            self._hung, self._hung_at = self._reports.silent_rank(), time.monotonic()
            for member in self._members:
                if self._hung is not None and member.role == f"rank-{self._hung}":
                    with contextlib.suppress(RunStateError):
                        ask_for_stack(member)
        elif time.monotonic() > self._hung_at + STACK_DUMP_S:
            self._end_all()

    def _handle_requests(self) -> None:
        """Ends the attempt where a stop was asked for twice, or takes too long."""
        if self._stop_by is None:
            request = _readable(self.paths.stop_request(self.attempt))
            if request is not None:
                self._stop_by = time.monotonic() + request.deadline_s
        elif self.paths.kill_request(self.attempt).exists():
            self._end_all()
        elif time.monotonic() > self._stop_by:
            self._stop("the deadline", at_once=True)  # so that the run directory shows how it ended
            self._end_all()

    def _stop(self, by: str, *, at_once: bool) -> None:
        """Asks the ranks to save and exit, or ends them."""
        with contextlib.suppress(LinftuiError):
            stop_run(self.paths, by, at_once=at_once)

    def handle_signal(self, number: int, _: object = None) -> None:
        """Asks the ranks to save and exit; at the second signal that is not a warning, ends them.

        Warnings may come often, and before a signal to terminate.
        """
        if not self._owns_folder():
            return  # it is another run that would be asked to stop
        terminates = number not in WARNING_SIGNALS
        self._stop("a signal", at_once=terminates and self._terminated)
        self._terminated |= terminates

    def _end_all(self) -> None:
        if self._owns_folder():
            self._record_ranks()
        self._end(self._members)

    def _end(self, members: list[ProcessRecord]) -> None:
        with contextlib.suppress(RunStateError):  # a process that cannot be ended must not end its supervisor
            end_processes(members)

    def _show_life(self) -> None:
        """Touches state.json, so that other hosts see a live supervisor, however long a step takes."""
        if time.monotonic() - self._shown_life > HEARTBEAT_S:
            with contextlib.suppress(OSError):
                os.utime(self.paths.state)
            self._shown_life = time.monotonic()


def main(arguments: list[str]) -> int:
    """Supervises one attempt to its end; the first line on stdout reports how the start went."""
    parser = argparse.ArgumentParser(prog="python -m linftui.launch.supervisor", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--devices", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--checkpoint", type=int)
    options = parser.parse_args(arguments)
    detach()
    plan = LaunchPlan(devices=tuple(options.devices.split(",")), threads=options.threads)
    ignore_warning_signals()  # inherited by torchrun, which they would kill
    try:
        check_temporary_folder(plan.ranks)  # checked here, in the environment that the workers inherit
        supervisor = Supervisor(RunPaths(options.run), plan, options.checkpoint)
    except LinftuiError as error:
        send_answer(StartRecord(message=error.message, hint=error.hint, exit_code=error.exit_code))
        return error.exit_code
    for number in (signal.SIGINT, signal.SIGTERM, *WARNING_SIGNALS):
        signal.signal(number, supervisor.handle_signal)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    send_answer(StartRecord(attempt=supervisor.attempt))
    redirect_output(supervisor.paths.supervisor_log(supervisor.attempt))
    print(f"attempt {supervisor.attempt}, {plan.ranks} rank(s) on {plan.spec}, {plan.threads} thread(s) each")
    while (ended := supervisor.poll(POLL_S)) is None:
        pass
    print(f"{ended.outcome}, exit code {ended.code}", ended.message, ended.hint)
    return 0


def _readable(path: Path) -> StopRequest | None:
    try:
        return read_record(path, StopRequest)
    except LinftuiError:
        return None  # no matter who wrote it, it must not end a run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
