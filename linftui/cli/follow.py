"""Following a run in plain lines until its attempt ends. Following never affects the run."""

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Iterator

from linftui.cli.render import print_json, summary_json
from linftui.errors import LinftuiError, RunDirectoryError, WorkerError
from linftui.launch.control import stop_run
from linftui.recipe.fraction import format_fraction
from linftui.rundir.checkpoints import complete_checkpoints
from linftui.rundir.ending import read_why_it_ended
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_record
from linftui.rundir.records import EvalRecord, EventRecord, ExitRecord, StateRecord, TrainRecord
from linftui.rundir.state import ACTIVE, State, run_state
from linftui.rundir.stopping import WARNING_SIGNALS
from linftui.rundir.store import read_recipe, summarise
from linftui.text import clean, decimal, number, share

POLL_S = 0.25
QUIET_S = 10.0  # between evaluations, new records are reported about this often
STOPPED = 143  # as if ended by SIGTERM, so that `run && next` does not go on after an unfinished run


class AttemptProgress:
    """The newest figures of one attempt."""

    def __init__(self, paths: RunPaths, attempt: int) -> None:
        recipe = read_recipe(paths)
        self.attempt = attempt
        self.epochs = recipe.epochs
        self.eps = format_fraction(recipe.eps.test)
        self.train: TrainRecord | None = None
        self.evaluation: EvalRecord | None = None
        self._reader = RunReader(paths)

    def update(self) -> tuple[bool, bool]:
        """Reads the new metrics and keeps the newest.

        Returns:
            Whether this attempt has new ones, and whether its newest evaluation is among them.
        """
        grown = evaluated = False
        for record in self._reader.each_metric():
            own = record.attempt == self.attempt
            grown |= own
            if isinstance(record, TrainRecord):
                self.train = record
            elif record.counts:
                self.evaluation, evaluated = record, own
        return grown, evaluated

    def events(self) -> Iterator[EventRecord]:
        """The new events of this attempt, read as they are asked for."""
        return (event for event in self._reader.each_event() if event.attempt == self.attempt)

    def line(self) -> str:
        """The progress in one line."""
        parts = []
        if (train := self.train) is not None:
            parts.append(
                f"epoch {decimal(train.epoch, 1)}/{self.epochs} step {train.step} p {number(train.p)} "
                f"loss {decimal(train.loss, 4)} accuracy {share(train.accuracy)}"
            )
        if (evaluation := self.evaluation) is not None:
            parts.append(
                f"test: clean {share(evaluation.clean_accuracy)} "
                f"certified {share(evaluation.certified_accuracy)} (p = inf, eps {self.eps})"
            )
        return " | ".join(parts) or "starting"


def follow(paths: RunPaths, attempt: int, *, as_json: bool = False) -> int:
    """Prints the progress of an attempt until it ends; returns the command's exit code.

    Args:
        paths: the run directory.
        attempt: which attempt.
        as_json: print nothing but the run's summary, at the end.

    Raises:
        WorkerError: the attempt failed or crashed.
        RunDirectoryError: the run was removed.
        KeyboardInterrupt: the user pressed Ctrl-C; the run continues, and a line on stderr says so.
    """
    warned = list[int]()
    for warning in WARNING_SIGNALS:
        signal.signal(warning, lambda received, _: warned.append(received))
    try:
        state = _follow(paths, attempt, warned, quiet=as_json)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            # Not on stdout, which holds the progress lines, or one JSON object.
            print(clean(f"the run continues; stop it with: linftui stop {_quoted(paths)}"), file=sys.stderr)
        raise
    summary = summarise(paths)
    if as_json:
        print_json(summary_json(summary))
    else:
        if summary.caution:
            _say(f"warning: {summary.caution}")
        _say(_closing_line(paths, state))
    if state in ("failed", "crashed", "lost"):
        ended = read_record(paths.exit, ExitRecord)
        if ended is None or ended.attempt != attempt:
            raise WorkerError(f"{paths.id} is {state}: {read_why_it_ended(paths, state, attempt)}")
        raise WorkerError(ended.message, ended.hint)
    return 0 if state == "finished" else STOPPED


def _follow(paths: RunPaths, attempt: int, warned: list[int], *, quiet: bool) -> State:
    progress = AttemptProgress(paths, attempt)
    if not quiet:
        _say(f"run {paths.root} attempt {attempt}")
    said = time.monotonic()
    while True:
        state = _state_of_attempt(paths, attempt)  # read first, so that no last record is missed
        grown, evaluated = progress.update()
        for event in progress.events():
            if event.event in ("warning", "stop-seen") and not quiet:
                _say(f"{event.event}: {event.message}")
        if not quiet and (evaluated or (grown and time.monotonic() - said > QUIET_S)):
            _say(progress.line())
            said = time.monotonic()
        if state not in ACTIVE:
            return state
        if warned:  # the scheduler's time limit for this job is near
            with contextlib.suppress(LinftuiError):
                stop_run(paths, "the scheduler")
            warned.clear()
        time.sleep(POLL_S)


def _state_of_attempt(paths: RunPaths, attempt: int) -> State:
    """The run's state; "stopped" if a newer attempt has already started."""
    try:
        state = read_record(paths.state, StateRecord)
        if state is not None:
            return "stopped" if state.attempt > attempt else run_state(paths)
    except LinftuiError:  # a file that cannot be read now
        ended = read_record(paths.exit, ExitRecord)
        return ended.outcome if ended is not None and ended.attempt == attempt else "running"
    raise RunDirectoryError(f"{paths.root} is gone: it was removed")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the reader of stdout is gone
        print(clean(text), flush=True)


def _closing_line(paths: RunPaths, state: State) -> str:
    if state == "finished":
        return f"finished: {paths.root}  next: linftui certify {_quoted(paths)}"
    if not complete_checkpoints(paths):
        return f"{state}: {paths.root}  no checkpoint was saved"
    return f"{state}: {paths.root}  resume it with: linftui resume {_quoted(paths)}"


def _quoted(paths: RunPaths) -> str:
    """The run's path quoted for a shell, so that a pasted command executes no part of a folder's name."""
    return shlex.quote(str(paths.root))
