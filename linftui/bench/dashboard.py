"""How fast the dashboard is in a real terminal: how soon it appears, and how little it sends afterwards.

The lower bound of the first paint is an empty Textual app, started alternately with ours.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from linftui.bench.charts import redraw_times
from linftui.bench.runs import make_run, train_record
from linftui.bench.terminal import Terminal
from linftui.rundir.records import encode
from linftui.rundir.store import RunStore

DASHBOARD = ["-m", "linftui"]
EMPTY_APP = ["-c", "from textual.app import App; from textual.widgets import Label\n"
             "class Empty(App):\n    def compose(self): yield Label('drawn now')\nEmpty().run()"]  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A measured value, or the median of several, with its unit and the target that it should not exceed."""

    name: str
    value: float
    unit: str
    target: float | None = None


def measure(repeats: int, say: Callable[[str], None]) -> list[Figure]:
    """Measures everything; `say` is called with what is being done."""
    with tempfile.TemporaryDirectory(prefix="linftui-bench-") as folder:
        root = Path(folder)
        say("writing 1,000 runs")
        many = RunStore(root / "many")
        for n in range(1000):
            make_run(many, f"run-{n:04d}", 120, finished=True)
        say("first paint")
        figures = _first_paint(many, repeats)
        say("redraw of charts")
        figures += _redraw(repeats)
        say("idle, for 80 s")
        figures += _idle(many)
        say("writing a run of 1,000,000 records")
        long = RunStore(root / "long")
        make_run(long, "long", 1_000_000, finished=True)
        say("opening it")
        figures += _open_long(long)
        say("a run that grows")
        return figures + _live(RunStore(root / "live"))


def _first_paint(store: RunStore, repeats: int) -> list[Figure]:
    ours, empty = [], []
    for _ in range(repeats):
        with Terminal([*DASHBOARD, "--runs-dir", str(store.root)], store.root) as terminal:
            ours.append(terminal.seconds_until("run-0999"))
        with Terminal(EMPTY_APP, store.root) as terminal:
            empty.append(terminal.seconds_until("drawn now"))
    first, ceiling = statistics.median(ours), statistics.median(empty)
    return [
        Figure("first paint, 1,000 runs", first, "s", 1.5),
        Figure("first paint of an empty Textual app", ceiling, "s"),
        Figure("ratio of the two", first / ceiling, ""),
    ]


def _redraw(repeats: int) -> list[Figure]:
    return [
        Figure(
            f"redraw of 4 charts of 2 x {points:,} points, 160x45",
            statistics.median(redraw_times(points, repeats=3 * repeats)) * 1000,
            "ms",
            20.0,
        )
        for points in (10_000, 1_000_000)
    ]


def _idle(store: RunStore, seconds: float = 20.0) -> list[Figure]:
    """With runs that are older than a minute: the age of younger ones changes every second."""
    with Terminal([*DASHBOARD, "--runs-dir", str(store.root)], store.root) as terminal:
        terminal.seconds_until("run-0999")
        terminal.listen(60.0)
        cpu = terminal.cpu_seconds()
        sent = terminal.listen(seconds)
        return [
            Figure("idle, list of 1,000 runs: to the terminal", sent / seconds, "B/s", 1000.0),
            Figure("idle: processor", 100 * (terminal.cpu_seconds() - cpu) / seconds, "% of a core", 2.0),
            Figure("memory, 1,000 runs", terminal.memory() / 1e6, "MB", 300.0),
        ]


def _open_long(store: RunStore) -> list[Figure]:
    with Terminal([*DASHBOARD, "--runs-dir", str(store.root)], store.root) as terminal:
        terminal.seconds_until("long")
        terminal.listen(2.0)
        terminal.press("\r")
        drawn = terminal.seconds_until("not a certificate")
        terminal.seconds_until("1,000,000")
        whole = time.perf_counter() - terminal.started
        return [
            Figure("opening a run of 1,000,000 records: first drawn", drawn, "s", 0.5),
            Figure("opening a run of 1,000,000 records: all of it", whole, "s", 4.0),
            Figure("memory with it", terminal.memory() / 1e6, "MB", 300.0),
        ]


def _live(store: RunStore, seconds: int = 20) -> list[Figure]:
    """Five records a second, as training writes them, into a run whose charts are on screen."""
    written, of = 2000, 4000
    paths = make_run(store, "growing", written, finished=False)
    with Terminal([*DASHBOARD, "--runs-dir", str(store.root)], store.root) as terminal:
        terminal.seconds_until("growing")
        terminal.listen(2.0)
        terminal.press("\r")
        terminal.seconds_until("not a certificate")
        terminal.listen(4.0)
        before, started = terminal.sent, time.perf_counter()
        with paths.metrics.open("ab", buffering=0) as file:
            for n in range(5 * seconds):
                file.write(encode(train_record(written + n, of, time.time())) + b"\n")
                terminal.listen(max(0.0, started + n / 5 - time.perf_counter()))
        sent = (terminal.sent - before) / (time.perf_counter() - started)
        return [Figure("a live run, 160x45: to the terminal", sent, "B/s", 12000.0)]
