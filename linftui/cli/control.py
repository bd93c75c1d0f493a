"""`linftui stop`, `linftui logs` and `linftui rm`: what one does to runs that live on their own."""

import codecs
import re
import sys
import time
from collections.abc import Iterable
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
SUPERVISOR_LATE_S = 5.0  # so long after a stop's deadline a supervisor has ended its run, or never will
LOG_BYTES = 1 << 20


def stop(
    run: RunNames,
    deadline: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="End it without saving if it takes longer.")
    ] = STOP_DEADLINE_S,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Ask, and return at once.")] = False,
    runs_dir: RunsDir = DEFAULT_ROOT,
) -> int:
    """Ask runs to save a checkpoint and stop; ask again to end them at once."""
    from linftui.launch.control import stop_run
    from linftui.rundir.stopping import stop_stages
    from linftui.rundir.store import RunStore

    code, asked = 0, []
    for paths in _each_once(map(RunStore(runs_dir).find, run)):
        try:
            stop_run(paths, "linftui stop", deadline)
        except LinftuiError as error:  # the others are asked all the same
            fail(str(error))
            code = max(code, error.exit_code)
            continue
        asked.append(paths)
        stages = stop_stages(paths, [])
        again = stages is not None and stages.killed
        print(clean(f"{paths.id}: {'asked to end at once' if again else 'stop requested'}"), flush=True)
    return code if no_wait else max([code, *(_wait_for_stop(paths, deadline) for paths in asked)])


def _each_once(runs: Iterable[RunPaths]) -> list[RunPaths]:
    """No run twice, whatever names were given: asking one twice to stop would end it without saving."""
    return list({paths.root.resolve(): paths for paths in runs}.values())


def _wait_for_stop(paths: RunPaths, deadline_s: float) -> int:
    """Tells each stage of a stop once it is reached; ends a run whose supervisor does not at the deadline."""
    from linftui.launch.control import stop_run
    from linftui.rundir.ending import read_why_it_ended
    from linftui.rundir.reader import RunReader, read_record
    from linftui.rundir.records import EventName, EventRecord, StateRecord
    from linftui.rundir.state import GOING_ON, run_state
    from linftui.rundir.stopping import stop_stages

    reader, told = RunReader(paths), set[str]()
    current = read_record(paths.state, StateRecord)
    first = dict[EventName, EventRecord]()  # of each kind, by the attempt that was asked
    give_up, insisted = time.monotonic() + deadline_s + SUPERVISOR_LATE_S, False
    while True:
        state = run_state(paths)
        if state in GOING_ON and time.monotonic() > give_up:
            if insisted:
                fail(f"{paths.id}: it cannot be ended from here; look for its processes with ps")
                return 1
            print(clean(f"{paths.id}: its supervisor does not answer, asked to end at once"), flush=True)
            stop_run(paths, "linftui stop")
            give_up, insisted = time.monotonic() + SUPERVISOR_LATE_S, True
        for event in reader.each_event():
            if current is not None and event.attempt == current.attempt:
                first.setdefault(event.event, event)
        stages = stop_stages(paths, list(first.values()))
        reached = []
        if stages is not None and stages.seen is not None:
            reached.append("seen by the ranks")
        if stages is not None and stages.saved_step is not None:
            reached.append(f"saved step {stages.saved_step:,}")
        for stage in reached:
            if stage not in told:
                print(clean(f"{paths.id}: {stage}"), flush=True)
                told.add(stage)
        if state not in GOING_ON:
            why = read_why_it_ended(paths, state, None if current is None else current.attempt)
            print(clean(f"{paths.id}: {state}{why and f', {why}'}"), flush=True)
            return 0 if state in ("stopped", "finished") else 1
        time.sleep(POLL_S)


def logs(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the attempt ends.")] = False,
    rank: Annotated[str, typer.Option(metavar="N|supervisor|torchrun", help="Whose log.")] = "0",
    attempt: Annotated[int | None, typer.Option(min=1, help="Default: the newest.")] = None,
    runs_dir: RunsDir = DEFAULT_ROOT,
) -> None:
    """Print what a rank, or the supervisor, wrote.

    With --follow, stderr tells meanwhile what happens in the run: a healthy rank writes next to nothing.
    """
    from linftui.cli.meanwhile import Meanwhile
    from linftui.rundir.reader import read_record
    from linftui.rundir.records import StateRecord
    from linftui.rundir.state import ACTIVE, run_state
    from linftui.rundir.store import RunStore

    paths = RunStore(runs_dir).find(run)
    state = read_record(paths.state, StateRecord)
    chosen = attempt or (state.attempt if state else 1)
    log = _log_file(paths, chosen, rank)
    offset, decoder = 0, codecs.getincrementaldecoder("utf-8")(errors="replace")
    meanwhile: Meanwhile | None = None
    while True:
        current = read_record(paths.state, StateRecord)
        over = run_state(paths) not in ACTIVE or (current is not None and current.attempt != chosen)
        if meanwhile is not None:
            meanwhile.tell_events()
        if data := _bite(log, offset):
            offset += len(data)
            print(_harmless(decoder.decode(data)), end="", flush=True)
        elif over or not follow:
            break
        else:
            meanwhile = meanwhile or Meanwhile(paths, chosen, log)
            time.sleep(POLL_S)
    if meanwhile is not None:
        meanwhile.tell_ending()
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
        raise UsageError(f"--rank {rank!r} is no rank", "give a number, supervisor or torchrun")
    return paths.rank_log(attempt, int(rank))


def _bite(log: Path, offset: int) -> bytes:
    """What a log holds from `offset` on, at most so much at once; nothing where it is not written yet."""
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
    """Text of a log without anything that a terminal would obey, apart from the ends of lines."""
    return "\n".join(clean(line.replace("\t", "    ")) for line in re.split("\r\n|\r|\n", text))


def rm(
    run: WholeRunNames,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: RunsDir = DEFAULT_ROOT,
) -> int:
    """Remove runs with all their checkpoints and certificates, for good."""
    from linftui.launch.removal import remove_run
    from linftui.rundir.store import RunStore

    doomed = _each_once(map(RunStore(runs_dir).find_exactly, run))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("rm asks before it removes, and this is no terminal", "add --yes")
        for paths in doomed:
            print(clean(f"{paths.root}  {_mebibytes(paths.root):,.1f} MiB"))
        if not typer.confirm(f"remove {'it' if len(doomed) == 1 else f'these {len(doomed)} runs'} for good?"):
            print("nothing was removed")
            return 1
    code = 0
    for paths in doomed:
        try:
            remove_run(paths)
        except LinftuiError as error:  # the others are removed all the same
            fail(str(error))
            code = max(code, error.exit_code)
            continue
        print(clean(f"removed {paths.root}"))
    return code


def _mebibytes(folder: Path) -> float:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir()) / 2**20
