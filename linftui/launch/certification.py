"""Certifications as separate worker processes, whose progress is read from the run directory."""

import calendar
import contextlib
import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from linftui import memory
from linftui.errors import LinftuiError, RunDirectoryError, RunStateError, UsageError, WorkerError
from linftui.launch.plan import LaunchPlan
from linftui.launch.process_ending import how_it_ended, its_log, where_to_look
from linftui.launch.worker_process import WorkerProcess
from linftui.processes.life_pipe import LifePipe
from linftui.processes.members import works_for
from linftui.processes.reports import RankReports
from linftui.processes.signalling import send_signal
from linftui.rundir.checkpoints import choose_checkpoint
from linftui.rundir.liveness import is_here, is_same_folder, life, seconds_silent
from linftui.rundir.moments import when_made
from linftui.rundir.paths import CertificatePaths, CertifyLogPaths, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import (
    CertificateSummary,
    CertifyRequest,
    CertifyTask,
    ErrorRecord,
    Means,
    MemberRecord,
)
from linftui.rundir.writer import cannot_write, write_record

_BEGUN = "%Y%m%d-%H%M%S"  # in the name of a certification's folder, in UTC
_NAME = re.compile(r"\.?[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # a certificate's folder, or its draft's


@dataclass(frozen=True)
class CertificationProgress:
    """How far one certification process has come.

    `certificates` are in the order they are made, each with what is known so far; `complete` says which are
    whole. A certification that was `refused` failed before it had anything to certify, and the command that
    asked for it has reported why.
    """

    logs: CertifyLogPaths
    state: Literal["running", "done", "failed"]
    certificates: list[tuple[CertificatePaths, CertificateSummary | None]]
    warnings: list[str]
    error: str  # why it failed; empty where it did not
    refused: bool = False


def check_certification(paths: RunPaths, plan: LaunchPlan, request: CertifyRequest) -> None:
    """Refuses at once what would otherwise fail only after data are fetched and torch is loaded.

    Args:
        paths: the run directory.
        plan: device and threads.
        request: what is to be certified.

    Raises:
        UsageError: the run has no such checkpoint, there are no such means, or several devices are named.
    """
    if request.means not in get_args(Means):
        raise UsageError(f"--means {request.means!r} is neither running nor re-estimated")
    if plan.ranks > 1:
        raise UsageError(f"--devices {plan.spec} names {plan.ranks} devices", "a certificate is made on one")
    choose_checkpoint(paths, request.checkpoint)


def begin_certification(paths: RunPaths, plan: LaunchPlan, request: CertifyRequest) -> CertifyLogPaths:
    """Starts a certification that outlives this process; `certifications` reports its progress.

    Arguments as for `check_certification`.

    Raises:
        LinftuiError: the run directory cannot be written, or the process cannot be started.
    """
    reports, kernel_kills = RankReports(), memory.KernelKills()
    with contextlib.closing(reports):
        logs, starter = _start(paths, plan, request, reports, None)
        while (code := starter.wait(1.0)) is None:  # it hands the work to a detached child, then exits
            pass
        reports.read()
        if code != 0:
            starved = kernel_kills.some_recently()
            raise _failure(logs, reports, how_it_ended(code, logs.log, starved=starved))
    return logs


def _start(
    paths: RunPaths, plan: LaunchPlan, request: CertifyRequest, reports: RankReports, pipe: LifePipe | None
) -> tuple[CertifyLogPaths, WorkerProcess]:
    check_certification(paths, plan, request)
    begun = time.strftime(_BEGUN, time.gmtime())
    logs = paths.certify_logs(f"{begun}-{os.getpid()}-{time.time_ns() % 10**9:09d}")
    try:
        logs.root.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(logs.root, error) from error
    try:
        write_record(logs.request, request)
    except LinftuiError:
        shutil.rmtree(logs.root, ignore_errors=True)  # else it would count as a failed certification
        raise
    leashed = [] if pipe is None else ["--supervisor-pipe", pipe.name]
    command = plan.worker_command(
        "certify", str(paths.root.absolute()), "--request", str(logs.request.absolute()),
        "--report-pipe", reports.name, *leashed,
    )  # fmt: skip
    return logs, WorkerProcess(command, plan.environment(), logs.log, "certify")


def certifications(paths: RunPaths) -> list[CertificationProgress]:
    """Every certification process of a run, the newest first."""
    folders = sorted(paths.certify_logs("").root.parent.glob("certify-*"), key=_age, reverse=True)
    return [
        _progress(paths, CertifyLogPaths(folder))
        for folder in folders
        if folder.is_dir() and not folder.is_symlink()
    ]


def _age(logs: Path) -> tuple[float, str]:
    """When a certification began, by its folder's name, or by the folder's time if that is in the future."""
    try:
        said = float(calendar.timegm(time.strptime(logs.name[8:23], _BEGUN)))
    except ValueError:
        said = -1.0  # not a name that linftui gives
    return when_made(said, logs) or 0.0, logs.name


def stop_certification(paths: RunPaths, logs: CertifyLogPaths) -> None:
    """Asks a certification to stop after its current batch; certificates that are whole by then are kept.

    Raises:
        LinftuiError: its record is damaged, it runs on another host, or it belongs to another user.
    """
    worker = read_record(logs.worker, MemberRecord)
    if worker is None:
        return
    if not is_here(worker.host):
        raise RunStateError(f"the certification runs on {worker.host.name}", "stop it there")
    if works_for(worker.process, paths):
        send_signal(worker.process, signal.SIGTERM)


def _progress(paths: RunPaths, logs: CertifyLogPaths) -> CertificationProgress:
    try:
        # Checked first: a process that ends in between has written the rest by then.
        worker = read_record(logs.worker, MemberRecord)
        alive = worker is not None and _is_going_on(worker, logs, paths)
        task, error = read_record(logs.task, CertifyTask), read_record(logs.error, ErrorRecord)
        known = [] if task is None else _certificates(paths, task)
    except RunDirectoryError as damage:
        return CertificationProgress(logs, "failed", [], [], damage.message)
    warnings = task.warnings if task else []
    if error is not None:
        why = str(LinftuiError(error.message, error.hint))
        return CertificationProgress(logs, "failed", known, warnings, why, refused=task is None)
    if task is not None and task.done == len(task.certificates):
        return CertificationProgress(logs, "done", known, warnings, "")
    if alive:
        return CertificationProgress(logs, "running", known, warnings, "")
    if task is not None and task.stopped:
        return CertificationProgress(logs, "failed", known, warnings, "it was stopped before its end")
    if worker is not None and not is_same_folder(worker.folder, paths.root, worker.host):
        return CertificationProgress(logs, "failed", known, warnings, "the run was copied while it went on")
    why = f"it {how_it_ended(None, logs.log, starved=False)}; {its_log(logs.log)}"
    return CertificationProgress(logs, "failed", known, warnings, why, refused=task is None)


def _is_going_on(worker: MemberRecord, logs: CertifyLogPaths, paths: RunPaths) -> bool:
    if not is_same_folder(worker.folder, paths.root, worker.host):
        return False  # it may go on in the folder that this one is a copy of
    written = [logs.task, logs.log, *paths.certificates.glob(".*/summary.json")]
    return life([(worker.host, worker.process)], seconds_silent(written)) == "alive"


def _certificates(
    paths: RunPaths, task: CertifyTask
) -> list[tuple[CertificatePaths, CertificateSummary | None]]:
    known: list[tuple[CertificatePaths, CertificateSummary | None]] = []
    for number, (name, draft) in enumerate(zip(task.certificates, task.drafts, strict=False)):
        # Only what this process made: an earlier certificate of the same name is not its progress.
        source = paths.certificate(name if number < task.done else draft)
        if not (_NAME.fullmatch(name) and _NAME.fullmatch(draft)) or source.root.is_symlink():
            continue  # a stranger's record must not lead out of the run
        known.append((paths.certificate(name), read_record(source.summary, CertificateSummary)))
    return known


class Certification:
    """A certification that ends with this process; arguments and errors as for `begin_certification`."""

    def __init__(self, paths: RunPaths, plan: LaunchPlan, request: CertifyRequest) -> None:
        self._paths, self._pipe, self._reports = paths, LifePipe(), RankReports()
        self._kernel_kills = memory.KernelKills()
        try:
            self._logs, self._worker = _start(paths, plan, request, self._reports, self._pipe)
        except LinftuiError:
            self.close()
            raise

    def wait(self, seconds: float) -> int | None:
        """The worker's exit code, or None while it runs after waiting this long."""
        code = self._worker.wait(seconds)
        self._reports.read()
        if code is None:
            self._kernel_kills.look()
        return code

    def ask_to_stop(self) -> None:
        """Asks it to stop after its current batch; certificates that are whole by then are kept."""
        self._worker.ask_to_stop()

    def kill(self) -> None:
        """Ends it at once."""
        self._worker.kill()

    def close(self) -> None:
        """Closes its pipes, once it has ended."""
        self._pipe.close()
        self._reports.close()

    def progress(self) -> CertificationProgress:
        """How far it has come."""
        return _progress(self._paths, self._logs)

    def failure(self, code: int) -> LinftuiError:
        """Why it failed."""
        starved = self._kernel_kills.some_recently()
        return _failure(self._logs, self._reports, how_it_ended(code, self._logs.log, starved=starved))


def _failure(logs: CertifyLogPaths, reports: RankReports, how: str) -> LinftuiError:
    """Why a certification failed, as its worker reported it, or else as `how` describes it."""
    error = reports.errors.get(0) or read_record(logs.error, ErrorRecord)
    if error is None:
        return WorkerError(f"the certification {how}", where_to_look(its_log(logs.log)))
    failure = WorkerError(error.message, error.hint)
    failure.exit_code = error.exit_code
    return failure
