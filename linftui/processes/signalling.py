"""Signals: each reaches exactly the process that is meant, and none that merely has its pid."""

import faulthandler
import os
import signal

from linftui.errors import RunStateError
from linftui.processes.members import works_for
from linftui.rundir.liveness import is_alive
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import ProcessRecord
from linftui.rundir.stopping import WARNING_SIGNALS


def end_members(paths: RunPaths, processes: list[ProcessRecord]) -> None:
    """Kills processes of a run, each only if it is provably the recorded one, and works for this run.

    Raises:
        RunStateError: one belongs to another user; the others are ended all the same.
    """
    end_processes([process for process in processes if works_for(process, paths)])


def end_processes(processes: list[ProcessRecord]) -> None:
    """Likewise for processes that are known to work for a run, since the caller started them."""
    refused = None
    for process in processes:
        try:
            send_signal(process, signal.SIGKILL)
        except RunStateError as error:
            refused = error
    if refused is not None:
        raise refused


def send_signal(process: ProcessRecord, number: signal.Signals) -> None:
    """Signals exactly this process; it is not an error if that is gone.

    Raises:
        RunStateError: it belongs to another user.
    """
    if process.uid != os.getuid():
        raise RunStateError(f"process {process.pid} of the run belongs to another user", "end it first")
    try:
        descriptor = _process_descriptor(process.pid)
        try:
            if not is_alive(process):
                return
            if descriptor is None:
                os.kill(process.pid, number)
            else:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            if descriptor is not None:
                os.close(descriptor)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise RunStateError(
            f"process {process.pid} of the run may not be signalled", "end it first"
        ) from None


def _process_descriptor(pid: int) -> int | None:
    """Pins a process, so that its pid cannot be given to another; None where that cannot be done.

    Pythons built for old systems and kernels before 5.3 lack the call, and some containers forbid it. Then
    the pid may change hands between the check and the signal.
    """
    if not (hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")):
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None


def ask_for_stack(process: ProcessRecord) -> None:
    """Makes a process that seems to hang write its stack to its log. Raises RunStateError."""
    send_signal(process, signal.SIGQUIT)
    send_signal(process, signal.SIGCONT)  # a stopped process does nothing until continued


def show_stack_when_asked() -> None:
    """Makes this process write its stack to its log whenever it is asked to, and when it crashes."""
    faulthandler.enable()
    faulthandler.register(signal.SIGQUIT)


def ignore_warning_signals() -> None:
    """Ignores a scheduler's warning signals, as long as there is nothing to save."""
    for number in WARNING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
