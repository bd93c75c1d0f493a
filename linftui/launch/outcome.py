"""How an attempt ended, and whose failure it was, from exit code, error files and the last event."""

import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from msgspec import structs

from linftui.errors import LinftuiError, RankLostError, RunDirectoryError
from linftui.launch.process_ending import code_seen_by_torchrun, how_it_ended, its_log, where_to_look
from linftui.processes.reports import SILENT_S
from linftui.rundir.checkpoints import complete_checkpoints
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_record
from linftui.rundir.records import ErrorRecord, ExitRecord, MetaRecord, TrainerRecord


def attempt_outcome(
    paths: RunPaths,
    attempt: int,
    ranks: int,
    code: int,
    *,
    lost: int | None = None,
    hung: int | None = None,
    starved: bool = False,
    reported: Mapping[int, ErrorRecord] = MappingProxyType({}),
) -> ExitRecord:
    """How an attempt ended whose processes have all exited.

    Args:
        paths: the run directory.
        attempt: the attempt's number.
        ranks: how many ranks it had.
        code: the exit code of the only rank, or of torchrun; negative: the signal that ended it.
        lost: the rank of several that was seen to be gone before the others.
        hung: the rank that stopped showing life, and was ended for that.
        starved: whether the kernel killed a process to free memory while the attempt went on.
        reported: failures that ranks reported to the supervisor; on a full disk they have no file.
    """
    judge = partial(_judged, paths, attempt, ranks, code, lost, hung, starved, reported)
    try:
        return judge(_last_event(paths, attempt))
    except RunDirectoryError as error:  # the file may be a link; the exit code is enough
        ended = judge("finished" if code == 0 and _is_at_its_end(paths, attempt) else None)
        caveat = f"judged by its exit code, since {error.message}"
        return structs.replace(ended, message="; ".join(filter(None, (ended.message, caveat))))


def _judged(
    paths: RunPaths,
    attempt: int,
    ranks: int,
    code: int,
    lost: int | None,
    hung: int | None,
    starved: bool,
    reported: Mapping[int, ErrorRecord],
    last: str | None,
) -> ExitRecord:
    """The outcome, given the attempt's last event."""
    ended = ExitRecord(attempt=attempt, outcome="crashed", code=code, time=time.time())
    if code == 0 or last in ("finished", "stopped"):
        return structs.replace(ended, outcome="finished" if last == "finished" else "stopped")
    if paths.kill_request(attempt).exists():
        return structs.replace(ended, outcome="stopped", message="ended without saving")
    errors = {**_errors(paths, attempt, ranks), **reported}
    # The first failure is the cause; a rank that only reports a lost connection points at another one.
    causes = [error for error in errors.values() if error.error != RankLostError.__name__]
    if causes:
        cause = min(causes, key=lambda error: error.time)
        return structs.replace(
            ended, outcome="failed", code=cause.exit_code, message=cause.message, hint=cause.hint
        )
    if hung is not None:
        log = paths.rank_log(attempt, hung)
        message = f"rank {hung} hung: it gave no sign of life for {SILENT_S:.0f} s"
        hint = where_to_look(f"what it was doing is in its log, {log}")
        return structs.replace(ended, message=message, hint=hint)
    silent = _silent(errors, ranks, lost)
    if silent is not None:
        log = paths.rank_log(attempt, silent)
        seen = code_seen_by_torchrun(paths.torchrun_log(attempt), silent)
        message = f"rank {silent} {how_it_ended(seen, log, starved=starved)}"
        return structs.replace(ended, message=message, hint=where_to_look(its_log(log)))
    what, log = ("the training process", paths.rank_log(attempt, 0))
    if ranks > 1:
        what, log = "torchrun", paths.torchrun_log(attempt)
    message = f"{what} {how_it_ended(code, log, starved=starved)}"
    return structs.replace(ended, message=message, hint=where_to_look(its_log(log)))


def _silent(errors: dict[int, ErrorRecord], ranks: int, lost: int | None) -> int | None:
    """The rank whose silence is the cause, if any: it was seen to be gone, or others reported losing it."""
    if lost is not None and lost not in errors:
        return lost
    return next((rank for rank in range(ranks) if rank not in errors), None) if errors else None


def _errors(paths: RunPaths, attempt: int, ranks: int) -> dict[int, ErrorRecord]:
    """What the ranks reported of their failures."""
    reported = {}
    for rank in range(ranks):
        try:
            error = read_record(paths.error(attempt, rank), ErrorRecord)
        except LinftuiError:
            continue  # damaged, so it counts as silent
        if error is not None:
            reported[rank] = error
    return reported


def _is_at_its_end(paths: RunPaths, attempt: int) -> bool:
    """Whether the attempt has saved the last step and done everything that is due there."""
    try:
        meta = read_record(paths.meta, MetaRecord)
        saved = [read_record(found.trainer, TrainerRecord) for found in complete_checkpoints(paths)[-1:]]
    except RunDirectoryError:
        return False
    return meta is not None and any(
        record is not None
        and record.attempt == attempt
        and record.step == meta.epochs * record.steps_per_epoch
        and record.evaluated
        for record in saved
    )


def _last_event(paths: RunPaths, attempt: int) -> str | None:
    last = deque(RunReader(paths).each_event(), maxlen=1)
    return last[0].event if last and last[0].attempt == attempt else None
