"""The process that trains or certifies: `python -m linftui.worker train|certify RUN ...`.

It is started by `linftui.launch`, never by hand. It reads and writes the run directory, and prints nothing
but its log. This module holds what both programs share: how they begin, and how they report a failure.
"""

import argparse
import contextlib
import os
import sys
import time
import traceback
from typing import Any

from linftui import memory
from linftui.errors import DeviceError, LinftuiError
from linftui.processes.life_pipe import SupervisorPipe
from linftui.processes.reports import Reporter
from linftui.processes.signalling import ignore_warning_signals, show_stack_when_asked
from linftui.rundir.fence import HeldFolder
from linftui.rundir.records import ErrorRecord
from linftui.rundir.writer import ReservedRecord
from linftui.worker.certify import CertifyProgram
from linftui.worker.program import WorkerProgram, log
from linftui.worker.train import TrainProgram

PROGRAMS: dict[str, type[WorkerProgram]] = {"train": TrainProgram, "certify": CertifyProgram}

# A rank that waits for ranks that are gone can no longer save, and a certification may be reading for long:
# once its starter is gone, either ends itself.
ORPHAN_PATIENCE_S = 20.0


def parse_arguments(arguments: list[str]) -> WorkerProgram:
    """The command line that `linftui.launch` writes."""
    parser = argparse.ArgumentParser(prog="python -m linftui.worker", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, program in PROGRAMS.items():
        command = commands.add_parser(name)
        command.set_defaults(program=program)
        program.add_options(command)
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    chosen: type[WorkerProgram] = options.pop("program")
    return chosen(**options)


def main(arguments: list[str]) -> int:
    """Runs one program and returns the exit code, which is also 0 where it was asked to stop and did."""
    program = parse_arguments(arguments)
    ignore_warning_signals()  # until there is something to save
    reporter, failure = None, None
    try:
        folder = HeldFolder(program.run)
        pipe = None if program.supervisor_pipe is None else SupervisorPipe(program.supervisor_pipe)
        reporter = Reporter(program.report_pipe, program.rank)
        program.announce()
        failure = ReservedRecord(program.error_file)
        show_stack_when_asked()  # a supervisor asks a rank that seems to hang
        reporter.show_life()
        if pipe is not None and program.may_wait_forever:
            pipe.end_process_once_closed(ORPHAN_PATIENCE_S)
        _prepare_torch(program)
        program.work(pipe, reporter)
        failure.discard()
        return 0
    except Exception as error:
        record = _described(error, program)
        if reporter is not None:
            reporter.fail(record)
        if failure is not None:
            with contextlib.suppress(LinftuiError):
                folder.check()  # another run may have taken its place
                failure.write(record)
        log(traceback.format_exc())
        return record.exit_code


def _prepare_torch(program: WorkerProgram) -> None:
    import torch  # takes seconds, during which the supervisor already knows who we are

    torch.set_num_threads(program.threads)
    if program.device != "cpu" and not torch.cuda.is_available():
        raise DeviceError("there is a GPU, but this torch cannot use it", "choose --devices cpu")


def _described(error: Exception, program: WorkerProgram) -> ErrorRecord:
    known = error if isinstance(error, LinftuiError) else _unforeseen(error, program)
    return ErrorRecord(
        error=type(error).__name__,
        message=known.message,
        hint=known.hint,
        exit_code=known.exit_code,
        time=time.time(),
    )


def _unforeseen(error: Exception, program: WorkerProgram) -> LinftuiError:
    short = memory.shortage(error, program.with_less_memory)
    if short is not None:
        return short
    first = next((line for line in str(error).splitlines() if line.strip()), "no message")
    hint = "; ".join(filter(None, ("the traceback is in the log", memory.limit())))
    return LinftuiError(f"{type(error).__name__}: {first}", hint)


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    with contextlib.suppress(OSError):  # a full disk does not change how it ended
        sys.stdout.flush()
        sys.stderr.flush()
    # Everything is written and synced by now; torch would take half a second to shut down.
    os._exit(exit_code)
