"""`linftui stop`, `linftui logs` and `linftui rm`: commands on existing runs."""

import codecs
import re
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from linftui.cli.options import RunName, RunNames, RunsDir, WholeRunNames
from linftui.cli.render import fail
from linftui.errors import LinftuiError, RunDirectoryError, UsageError
from linftui.rundir.paths import DEFAULT_ROOT, RunPaths
from linftui.rundir.records import STOP_DEADLINE_S
from linftui.text import clean

POLL_S = 0.1
BY = "linftui stop"
LOG_BYTES = 1 << 20


def stop(
    run: RunNames,
    deadline: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="End it without saving if it takes longer.")
    ] = STOP_DEADLINE_S,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Ask, and return without waiting.")] = False,
    runs_dir: RunsDir = DEFAULT_ROOT,
) -> int:
    """Ask runs to save a checkpoint and stop; ask again to end them at once."""
    from linftui.actions.stop import stop as stop_run
    from linftui.actions.stop import wait_until_stopped
    from linftui.rundir.store import RunStore

    code, asked = 0, []
    for paths in _each_once(map(RunStore(runs_dir).find, run)):
        try:
            ended = stop_run(paths, BY, deadline, insist=True)
        except LinftuiError as error:  # the others are still asked
            fail(str(error))
            code = max(code, error.exit_code)
            continue
        asked.append(paths)
        _report(paths, "asked to end at once" if ended else "stop requested")
    for paths in [] if no_wait else asked:
        try:
            state = wait_until_stopped(paths, BY, deadline, partial(_report, paths))
        except LinftuiError as error:  # the others are still waited for
            fail(str(error))
            code = max(code, error.exit_code)
        else:
            code = max(code, 0 if state in ("stopped", "finished") else 1)
    return code


def _report(paths: RunPaths, stage: str) -> None:
    print(clean(f"{paths.id}: {stage}"), flush=True)


def _each_once(runs: Iterable[RunPaths]) -> list[RunPaths]:
    """Each run once, under however many names: asking one to stop twice would end it without saving."""
    return list({paths.root.resolve(): paths for paths in runs}.values())


def logs(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print until the attempt ends.")] = False,
    rank: Annotated[str, typer.Option(metavar="N|supervisor|torchrun", help="Whose log to print.")] = "0",
    attempt: Annotated[int | None, typer.Option(min=1, help="Default: the newest.")] = None,
    runs_dir: RunsDir = DEFAULT_ROOT,
) -> None:
    """Print what a rank, or the supervisor, wrote.

    With --follow, the run's events are printed on stderr: a healthy rank writes next to nothing.
    """
    from linftui.cli.meanwhile import EventReporter
    from linftui.rundir.reader import read_record
    from linftui.rundir.records import StateRecord
    from linftui.rundir.state import ACTIVE, run_state
    from linftui.rundir.store import RunStore

    paths = RunStore(runs_dir).find(run)
    state = read_record(paths.state, StateRecord)
    chosen = attempt or (state.attempt if state else 1)
    log = _log_file(paths, chosen, rank)
    offset, decoder = 0, codecs.getincrementaldecoder("utf-8")(errors="replace")
    reporter: EventReporter | None = None
    while True:
        current = read_record(paths.state, StateRecord)
        over = run_state(paths) not in ACTIVE or (current is not None and current.attempt != chosen)
        if reporter is not None:
            reporter.report_events()
        if data := _read_from(log, offset):
            offset += len(data)
            print(_harmless(decoder.decode(data)), end="", flush=True)
        elif over or not follow:
            break
        else:
            reporter = reporter or EventReporter(paths, chosen, log)
            time.sleep(POLL_S)
    if reporter is not None:
        reporter.report_ending()
    if not log.exists():
        there = sorted(path.name for path in paths.logs(chosen).glob("*.log"))
        raise UsageError(
            f"{paths.id} has no {log.name} of attempt {chosen}", f"it has: {', '.join(there) or 'none'}"
        )


def _log_file(paths: RunPaths, attempt: int, rank: str) -> Path:
    if rank == "supervisor":
        return paths.supervisor_log(attempt)
    if rank == "torchrun":
        return paths.torchrun_log(attempt)
    if not (rank.isascii() and rank.isdecimal()):
        raise UsageError(f"--rank {rank!r} is not a rank", "give a number, supervisor or torchrun")
    return paths.rank_log(attempt, int(rank))


def _read_from(log: Path, offset: int) -> bytes:
    """At most LOG_BYTES of a log from `offset` on; empty if the log is not there yet."""
    from linftui.files import open_regular

    try:
        with open_regular(log) as file:
            file.seek(offset)
            return file.read(LOG_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise RunDirectoryError(f"{log}: cannot be read: {error.strerror or error}") from error


def _harmless(text: str) -> str:
    """Log text without control characters that a terminal would obey, except line ends."""
    return "\n".join(clean(line.replace("\t", "    ")) for line in re.split("\r\n|\r|\n", text))


def rm(
    run: WholeRunNames,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    runs_dir: RunsDir = DEFAULT_ROOT,
) -> int:
    """Remove runs with all their checkpoints and certificates, for good."""
    from linftui.actions.remove import disk_usage, remove
    from linftui.rundir.store import RunStore

    doomed = _each_once(map(RunStore(runs_dir).find_exactly, run))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("rm asks before it removes anything, and this is not a terminal", "add --yes")
        for paths in doomed:
            print(clean(f"{paths.root}  {disk_usage(paths) / 2**20:,.1f} MiB"))
        if not typer.confirm(f"remove {'it' if len(doomed) == 1 else f'these {len(doomed)} runs'} for good?"):
            print("nothing was removed")
            return 1
    code = 0
    for paths in doomed:
        try:
            remove(paths)
        except LinftuiError as error:  # the others are still removed
            fail(str(error))
            code = max(code, error.exit_code)
            continue
        print(clean(f"removed {paths.root}"))
    return code
