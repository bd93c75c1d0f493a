"""The process that trains or certifies: `python -m linftui.worker train|certify RUN ...`.

It is started by `linftui.launch`, never by hand. It reads the run directory, leaves everything in it, and
prints nothing but its log. A failure is told in an error file, its traceback in the log.
"""

import argparse
import contextlib
import faulthandler
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from linftui import memory
from linftui.errors import (
    CheckpointError,
    DeviceError,
    LinftuiError,
    RunDirectoryError,
    TrainingError,
    WorkerError,
)
from linftui.recipe.fraction import parse_radius
from linftui.rundir.fence import HeldFolder
from linftui.rundir.liveness import describe_process, folder_identity, this_host
from linftui.rundir.paths import CertifyLogPaths, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import (
    CertifyRequest,
    CertifyTask,
    ErrorRecord,
    MemberRecord,
    RankReport,
    StateRecord,
    encode,
)
from linftui.rundir.stopping import WARNING_SIGNALS
from linftui.rundir.store import read_meta, read_resolved
from linftui.rundir.writer import ReservedRecord, write_record
from linftui.user_folders import temporary_folder

if TYPE_CHECKING:
    from linftui.train.trainer import Trainer

# A rank that waits for others who are gone cannot save any more, and a certification may be reading for long:
# without whoever started it, either ends itself.
ORPHAN_PATIENCE_S = 20.0

BEAT_S = 5.0  # how often a rank shows that it lives
# Work that does not come a step further for so long, and for so many times as long as ever before, is stuck.
STUCK_S, STUCK_STEPS = 600.0, 20

LONGEST_REPORT = 4096  # bytes; so much is written to a pipe at once or not at all


def _open_pipe(name: str, flags: int) -> int:
    """One end of the starter's pipe "<pid>:<descriptor>:<inode>". Raises WorkerError where that is gone."""
    pid, descriptor, inode = map(int, name.split(":"))
    try:
        opened = os.open(f"/proc/{pid}/fd/{descriptor}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise WorkerError("the supervisor is gone") from error
    if os.fstat(opened).st_ino != inode:
        raise WorkerError("the supervisor is gone")
    return opened


class SupervisorPipe:
    """The reading end of the supervisor's pipe, whose end of file is the supervisor's death.

    Args:
        name: as `linftui.launch.worker_process.LifePipe` gives it.

    Raises:
        WorkerError: the supervisor is gone already.
    """

    def __init__(self, name: str) -> None:
        self._fd = _open_pipe(name, os.O_RDONLY)

    def closed(self) -> bool:
        """Whether the supervisor is gone."""
        try:
            return os.read(self._fd, 1) == b""
        except BlockingIOError:
            return False

    def end_process_once_closed(self, patience_s: float) -> None:
        """From now on this process does not outlive the supervisor by more than so many seconds."""
        threading.Thread(target=self._watch, args=(patience_s,), daemon=True).start()

    def _watch(self, patience_s: float) -> None:
        poll = select.poll()
        poll.register(self._fd, 0)  # a hang-up is always told
        poll.poll()
        time.sleep(patience_s)
        faulthandler.dump_traceback()
        os._exit(1)


class Reporter:
    """The writing end of the pipe on which a rank reports: a full disk does not silence it.

    Args:
        name: as `linftui.launch.reports.RankReports` gives it; None: nobody listens.
        rank: who reports.

    Raises:
        WorkerError: the supervisor is gone already.
    """

    def __init__(self, name: str | None, rank: int) -> None:
        self._rank = rank
        self._fd = None if name is None else _open_pipe(name, os.O_WRONLY)
        self._moved_at: float | None = None  # when the work last came a step further
        self._longest_step = 0.0
        self._begun = False  # the first step is done

    def show_life(self) -> None:
        """From now on says every few seconds that this process is not frozen, and its work not stuck."""
        if self._fd is not None:
            threading.Thread(target=self._beat, daemon=True).start()

    def move(self) -> None:
        """The work has come a step further: once it has, it is expected to go on."""
        now = time.monotonic()
        if self._moved_at is not None:
            self._longest_step = max(self._longest_step, now - self._moved_at)
            if not self._begun:
                self._begun = True
                self._show()
        self._moved_at = now

    def _is_stuck(self) -> bool:
        patience = max(STUCK_S, STUCK_STEPS * self._longest_step)
        return self._moved_at is not None and time.monotonic() - self._moved_at > patience

    def fail(self, error: ErrorRecord) -> None:
        """Says why this rank fails; what is too long is cut."""
        while len(encode(RankReport(rank=self._rank, error=error))) >= LONGEST_REPORT:
            halves = error.message[: len(error.message) // 2], error.hint[: len(error.hint) // 2]
            error = structs.replace(error, message=halves[0], hint=halves[1])
        self._write(RankReport(rank=self._rank, error=error))

    def _beat(self) -> None:
        while True:
            if not self._is_stuck():
                self._show()
            time.sleep(BEAT_S)

    def _show(self) -> None:
        self._write(RankReport(rank=self._rank, begun=self._begun))

    def _write(self, report: RankReport) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a supervisor that is gone, or does not read
                os.write(self._fd, encode(report) + b"\n")


class StopFlag:
    """Whether it is time to stop: a request in the run directory, a signal, or the starter's death.

    It is asked at every step, so that asking shows that the work goes on.
    """

    def __init__(self, pipe: SupervisorPipe | None, request: Path | None, reporter: Reporter) -> None:
        self._pipe, self._request, self._reporter, self._set = pipe, request, reporter, False
        for number in (signal.SIGTERM, signal.SIGINT, *WARNING_SIGNALS):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self._set = True

    def __call__(self) -> bool:
        self._reporter.move()
        self._set = (
            self._set
            or (self._request is not None and self._request.exists())
            or (self._pipe is not None and self._pipe.closed())
        )
        return self._set


def _log(text: str) -> None:
    """Writes to the log, unless its disk is full: that must not change how the work ends."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def train(options: argparse.Namespace, pipe: SupervisorPipe | None, reporter: Reporter) -> None:
    """Trains as one rank of an attempt, from the beginning or from a checkpoint."""
    from linftui.train.distributed import process_group

    with process_group(options.rendezvous, options.device) as device:
        should_stop = StopFlag(pipe, RunPaths(options.run).stop_request(options.attempt), reporter)
        _train_rank(options, str(device), should_stop)


def _train_rank(options: argparse.Namespace, device_name: str, should_stop: StopFlag) -> None:
    import torch

    from linftui.build import build_dataset
    from linftui.ops import backend_name
    from linftui.train.distributed import is_first
    from linftui.train.trainer import Trainer

    paths, device = RunPaths(options.run), torch.device(device_name)
    resolved = read_resolved(paths)
    dataset = build_dataset(resolved.recipe, device)
    trainer = Trainer(resolved, dataset, paths, options.attempt, should_stop, options.nonce)
    if is_first():  # which the trainer has found to own the run
        _note_machine(paths, options.nonce, backend_name(device))
    for warning in _go_on(trainer, options):
        trainer.event("warning", warning)
    try:
        outcome = trainer.fit()
    except TrainingError as error:
        trainer.event("failed", str(error))
        raise
    _log(f"{outcome} at step {trainer.step:,}")


def _go_on(trainer: "Trainer", options: argparse.Namespace) -> list[str]:
    """Puts the trainer back to the checkpoint asked for, or to the newest one if there is any.

    A function of its own, so that the checkpoint's tensors are gone when the training begins.

    Returns:
        A sentence for each damaged checkpoint that was passed over.
    """
    from linftui.checkpoint import find_checkpoint, load_latest

    paths, device, network = trainer.paths, trainer.device, trainer.net
    if options.checkpoint is None:
        checkpoint, skipped = load_latest(paths, device, network)
    else:
        checkpoint, skipped = find_checkpoint(paths, options.checkpoint, device, network)
    if checkpoint is None and skipped:
        raise CheckpointError(
            f"{paths.id} has no intact checkpoint to go on from: {skipped[0]}",
            "start another run of its recipe",
        )
    if checkpoint is not None:
        if checkpoint.record.recipe_hash != trainer.recipe_hash:
            raise CheckpointError(f"checkpoint {checkpoint.paths.root.name} belongs to another recipe")
        trainer.resume_from(checkpoint)
    return skipped


def _note_machine(paths: RunPaths, nonce: str, kernel_backend: str) -> None:
    """Has meta.json say what computes from now on: state.json may be lost, and others change a run's bits."""
    meta = structs.replace(read_meta(paths), kernel_backend=kernel_backend)
    state = read_record(paths.state, StateRecord)
    if state is not None and state.nonce == nonce:
        meta = structs.replace(meta, devices=state.devices, threads=state.threads)
    write_record(paths.meta, meta)


def certify_run(options: argparse.Namespace, pipe: SupervisorPipe | None, reporter: Reporter) -> None:
    """Certifies one checkpoint at each radius asked for."""
    temporary_folder()
    import torch

    from linftui.certify.certifier import certify
    from linftui.certify.draft import StoppedEarly
    from linftui.certify.subject import load_subject

    paths, device = RunPaths(options.run), torch.device(options.device)
    should_stop = StopFlag(pipe, None, reporter)
    request = _request(options.request)
    radii = [parse_radius(text) for text in request.eps]
    subject, skipped = load_subject(paths, request.checkpoint, request.means, request.limit, device)
    warnings = list[str]()

    def warn(warning: str) -> None:
        _log(f"warning: {warning}")
        warnings.append(warning)

    for warning in skipped:
        warn(warning)
    task_file = CertifyLogPaths(options.request.parent).task
    task = CertifyTask(
        certificates=[subject.certificate(eps).root.name for eps in radii],
        drafts=[subject.draft(eps).root.name for eps in radii],
        done=0,
        warnings=warnings,
    )
    write_record(task_file, task)
    try:
        for done, eps in enumerate(radii, start=1):
            summary = certify(subject, eps, should_stop, warn)
            write_record(task_file, structs.replace(task, done=done, warnings=warnings))
            _log(f"eps {summary.eps_exact}: certified {summary.certified_accuracy:.4f} of {summary.n:,}")
    except StoppedEarly as stopped:
        write_record(task_file, structs.replace(task, done=done - 1, warnings=warnings, stopped=True))
        _log(str(stopped))


def _request(path: Path) -> CertifyRequest:
    request = read_record(path, CertifyRequest)
    if request is None:
        raise RunDirectoryError(f"{path} is missing")
    return request


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line that `linftui.launch` writes."""
    parser = argparse.ArgumentParser(prog="python -m linftui.worker", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, action in (("train", train), ("certify", certify_run)):
        command = commands.add_parser(name)
        command.set_defaults(action=action, request=None, attempt=None, rendezvous=None)
        command.add_argument("run", type=Path)
        command.add_argument("--device", required=True)
        command.add_argument("--threads", type=int, required=True)
        command.add_argument("--supervisor-pipe")
        command.add_argument("--report-pipe")
        if name == "train":
            command.add_argument("--attempt", type=int, required=True)
            command.add_argument("--nonce", required=True)
            command.add_argument("--checkpoint")
            command.add_argument("--rendezvous", type=Path)
        else:
            command.add_argument("--request", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Runs one task and returns the exit code; 0 also where it was asked to stop and did."""
    options = parse_arguments(arguments)
    for number in WARNING_SIGNALS:  # until there is something to save
        signal.signal(number, signal.SIG_IGN)
    rank = 0 if options.rendezvous is None else int(os.environ["RANK"])
    reporter, failure = None, None
    try:
        folder = HeldFolder(options.run)
        pipe = None if options.supervisor_pipe is None else SupervisorPipe(options.supervisor_pipe)
        reporter = Reporter(options.report_pipe, rank)
        if options.request is not None:
            _announce_certification(options.run, CertifyLogPaths(options.request.parent), alone=pipe is None)
        elif options.rendezvous is not None:
            _announce_rank(RunPaths(options.run), options.attempt, rank)
        failure = ReservedRecord(_error_file(options, rank))
        faulthandler.enable()
        faulthandler.register(signal.SIGQUIT)  # its supervisor asks what a rank is doing that seems to hang
        reporter.show_life()
        if pipe is not None and (options.request or options.rendezvous):
            pipe.end_process_once_closed(ORPHAN_PATIENCE_S)
        code = _do(options, pipe, reporter)
        failure.discard()
        return code
    except Exception as error:
        told = error if isinstance(error, LinftuiError) else _unforeseen(error, options)
        record = ErrorRecord(
            error=type(error).__name__,
            message=told.message,
            hint=told.hint,
            exit_code=told.exit_code,
            time=time.time(),
        )
        if reporter is not None:
            reporter.fail(record)
        if failure is not None:
            with contextlib.suppress(LinftuiError):
                folder.check()  # what is there now may be another run
                failure.write(record)
        _log(traceback.format_exc())
        return told.exit_code


def _error_file(options: argparse.Namespace, rank: int) -> Path:
    if options.request is not None:
        return CertifyLogPaths(options.request.parent).error
    return RunPaths(options.run).error(options.attempt, rank)


def _announce_rank(paths: RunPaths, attempt: int, rank: int) -> None:
    """Says which process this rank is, and gives it a log of its own; torchrun would mix them."""
    # torchrun ends the others of a rank that died; they live on until it is clear whose fault it was.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with paths.rank_log(attempt, rank).open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    me = describe_process(os.getpid(), f"rank-{rank}")
    if me is not None:
        member = MemberRecord(host=this_host(), process=me, folder=folder_identity(paths.root))
        write_record(paths.member(attempt, rank), member)


def _announce_certification(run: Path, logs: CertifyLogPaths, *, alone: bool) -> None:
    """Says which process certifies; one that is to live alone becomes nobody's child.

    The process that was started then leaves with 0 once its child has said so.
    """
    if alone:
        said, saying = os.pipe()
        if os.fork():
            os.close(saying)
            os._exit(0 if os.read(said, 1) else 1)
        os.close(said)
    me = describe_process(os.getpid(), "certify")
    if me is not None:
        member = MemberRecord(host=this_host(), process=me, folder=folder_identity(run))
        write_record(logs.worker, member)
    if alone:
        os.write(saying, b"!")
        os.close(saying)


def _do(options: argparse.Namespace, pipe: SupervisorPipe | None, reporter: Reporter) -> int:
    import torch  # takes seconds, in which the supervisor knows already who we are

    torch.set_num_threads(options.threads)
    if options.device != "cpu" and not torch.cuda.is_available():
        raise DeviceError("there is a GPU, but this torch cannot use it", "choose --devices cpu")
    action: Callable[[argparse.Namespace, SupervisorPipe | None, Reporter], None] = options.action
    action(options, pipe, reporter)
    return 0


def _unforeseen(error: Exception, options: argparse.Namespace) -> LinftuiError:
    instead = "use a smaller batch_size, model.width or model.depth"
    if options.request is not None:  # the network is as it is, and the batches are the certificate's own
        instead = "" if options.device == "cpu" else "choose --devices cpu"
    short = memory.shortage(error, instead)
    if short is not None:
        return short
    first = next((line for line in str(error).splitlines() if line.strip()), "no message")
    hint = "; ".join(filter(None, ("the traceback is in the log", memory.limit())))
    return LinftuiError(f"{type(error).__name__}: {first}", hint)


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    with contextlib.suppress(OSError):  # a full disk changes nothing of how it ended
        sys.stdout.flush()
        sys.stderr.flush()
    # All is written and synced by now; torch would take half a second to take itself apart.
    os._exit(exit_code)
