"""Watching a run in the foreground: a live view on a terminal, plain lines in a pipe.

Everything shown is read from the run directory, as the dashboard does.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from linftui.cli.render import clean, duration, fraction, number
from linftui.launch.supervisor import Supervisor
from linftui.recipe.schema import format_fraction
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader
from linftui.rundir.records import EvalRecord, EventRecord, ExitRecord, TrainRecord
from linftui.rundir.store import read_recipe

if TYPE_CHECKING:
    from rich.console import RenderableType

POLL_S = 0.25
QUIET_S = 10.0  # between evaluations, a pipe hears of new records about this often


class Progress:
    """What is known of a running attempt."""

    def __init__(self, paths: RunPaths) -> None:
        recipe = read_recipe(paths)
        self.paths = paths
        self.epochs = recipe.epochs
        self.eps = format_fraction(recipe.eps.test)
        self.train: TrainRecord | None = None
        self.evaluation: EvalRecord | None = None
        self.events: list[EventRecord] = []
        self.started = time.monotonic()
        self.first: tuple[float, float] | None = None  # (epoch, moment) of the first record seen live
        self._reader = RunReader(paths)
        self._skip_earlier_attempts()

    def _skip_earlier_attempts(self) -> None:
        self.update()
        self.events.clear()
        self.first = None

    def update(self) -> list[TrainRecord | EvalRecord]:
        """Reads what is new, and returns the new metrics."""
        new = self._reader.metrics()
        for record in new:
            if isinstance(record, TrainRecord):
                self.train = record
                self.first = self.first or (record.epoch, time.monotonic())
            elif record.split == "test" and record.means == "running":
                self.evaluation = record
        self.events += self._reader.events()
        return new

    def eta(self) -> float | None:
        """Seconds to the end at the pace seen so far; None until there is a pace."""
        if self.train is None or self.first is None or self.train.epoch <= self.first[0]:
            return None
        pace = (time.monotonic() - self.first[1]) / (self.train.epoch - self.first[0])
        return pace * (self.epochs - self.train.epoch)

    def line(self) -> str:
        """The state in one plain line."""
        parts = []
        if (train := self.train) is not None:
            parts.append(
                f"epoch {train.epoch:.1f}/{self.epochs} step {train.step} p {number(train.p)} "
                f"loss {train.loss:.4f} accuracy {fraction(train.accuracy)}"
            )
        if (evaluation := self.evaluation) is not None:
            parts.append(
                f"test: clean {fraction(evaluation.clean_accuracy)} "
                f"certified {fraction(evaluation.certified_accuracy)} (p = inf, eps {self.eps})"
            )
        return " | ".join(parts) or "starting"


def watch(supervisor: Supervisor, stopping: Callable[[], bool], *, quiet: bool) -> ExitRecord:
    """Shows an attempt until it ends, and returns how it did."""
    progress = Progress(supervisor.paths)
    if quiet:
        while (ended := supervisor.poll(POLL_S)) is None:
            pass
        return ended
    if sys.stdout.isatty():
        return _watch_live(supervisor, progress, stopping)
    return _watch_plainly(supervisor, progress)


def _watch_plainly(supervisor: Supervisor, progress: Progress) -> ExitRecord:
    _say(f"run {supervisor.paths.root} attempt {supervisor.attempt}")
    said, ended = time.monotonic(), None
    while ended is None:
        ended = supervisor.poll(POLL_S)
        new = progress.update()
        for event in progress.events:
            if event.event in ("warning", "stop-seen"):
                _say(f"{event.event}: {event.message}")
        progress.events.clear()
        if progress.evaluation in new or (new and time.monotonic() - said > QUIET_S):
            _say(progress.line())
            said = time.monotonic()
    return ended


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more; the run matters more
        print(clean(text), flush=True)


def _watch_live(supervisor: Supervisor, progress: Progress, stopping: Callable[[], bool]) -> ExitRecord:
    from rich.console import Console
    from rich.live import Live

    ended = None
    with contextlib.suppress(OSError), Live(console=Console(), auto_refresh=False) as live:
        while ended is None:
            ended = supervisor.poll(POLL_S)
            progress.update()
            live.update(_view(progress, supervisor.attempt, stopping() and ended is None), refresh=True)
    while ended is None:  # the terminal is gone; the run matters more
        ended = supervisor.poll(POLL_S)
    return ended


def _view(progress: Progress, attempt: int, stopping: bool) -> "RenderableType":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    train, evaluation = progress.train, progress.evaluation
    head = Text.assemble((clean(progress.paths.id), "bold"), f"  attempt {attempt}")
    elapsed, eta = duration(time.monotonic() - progress.started), progress.eta()
    head.append(f"  {elapsed} elapsed" + (f", {duration(eta)} to go" if eta is not None else ""), "dim")

    bar = Table.grid(padding=(0, 2), expand=True)
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    epoch = train.epoch if train else 0.0
    bar.add_row(f"epoch {epoch:6.1f} / {progress.epochs}", ProgressBar(progress.epochs, completed=epoch))

    figures = Table.grid(padding=(0, 3))
    cells = [("loss", number(train.loss) if train else "-"), ("p", number(train.p) if train else "-")]
    cells += [("λ", number(train.lam) if train else "-"), ("lr", number(train.lr) if train else "-")]
    cells += [("train accuracy", fraction(train.accuracy) if train else "-")]
    cells += [("images/s", f"{train.images_per_s:,.0f}" if train else "-")]
    figures.add_row(*(Text.assemble((f"{name} ", "dim"), value) for name, value in cells))

    tested = Text("test at p = ∞  ", "dim")
    if evaluation is not None:
        tested.append(f"certified {fraction(evaluation.certified_accuracy)}", "bold green")
        tested.append(f" at eps {progress.eps}   clean {fraction(evaluation.clean_accuracy)}", "default")
        tested.append(f"   (epoch {evaluation.epoch:g})", "dim")
    else:
        tested.append("not evaluated yet", "dim")

    saved = next((event.step for event in reversed(progress.events) if event.event == "checkpoint"), None)
    warning = next((e.message for e in reversed(progress.events) if e.event == "warning"), None)
    foot = Text("starting" if train is None else f"saved at step {saved:,}" if saved else "nothing saved yet")
    foot.stylize("dim")
    if warning:
        foot.append(f"   {clean(warning)}", "yellow")
    seen = any(event.event == "stop-seen" for event in progress.events)
    if stopping:
        stage = "seen, saving a checkpoint" if seen else "requested"
        foot = Text(f"stop {stage} (Ctrl-C again ends it at once, without saving)", "yellow")
    return Group(head, bar, figures, tested, foot)
