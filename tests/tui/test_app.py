"""The dashboard as a whole: quick to start, honest on leaving, and a run's life by keys alone."""

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from person import Person

from linftui.errors import UsageError
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import CertificateSummary
from linftui.rundir.state import run_state
from linftui.tui.app import Dashboard, open_dashboard
from linftui.tui.run_list import look

Show = Callable[..., None]


def test_it_starts_without_what_is_heavy() -> None:
    heavy = {"torch", "sklearn", "matplotlib", "pooch", "requests", "scipy", "safetensors", "typer"}
    program = (
        "import sys, linftui.tui.app, linftui.tui.screens.run, os;"
        f"print(*({heavy!r} & set(sys.modules)), os.environ['TEXTUAL_ANIMATIONS'])"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["none"]


@pytest.mark.parametrize(
    ("going_on", "said"),
    [
        (0, ""),
        (1, "1 run goes on; linftui shows it again\n"),
        (2, "2 runs go on; linftui shows them again\n"),
    ],
)
def test_what_goes_on_is_said_on_leaving(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], going_on: int, said: str
) -> None:
    finished = look(RunPaths(runs / "tiny-run"))
    running = replace(finished, summary=replace(finished.summary, state="running"))

    def leave(dashboard: Dashboard) -> None:
        dashboard.rows = (*[running] * going_on, finished)

    monkeypatch.setattr(Dashboard, "run", leave)
    assert open_dashboard(runs) == 0
    assert capsys.readouterr().out == said


def test_a_failure_in_the_background_is_shown_and_told_how_to_mend(runs: Path, show: Show) -> None:
    def fail(_: object) -> None:
        raise UsageError("[red]no[/] \x1b[2J", "do [b]that[/b] instead")

    async def script(person: Person) -> None:
        person.app.in_background(fail, lambda _: None)
        await person.sees("That did not work", "[red]no[/] \ufffd[2J", "do [b]that[/b] instead")
        await person.press("escape")
        assert "That did not work" not in person.screen()

    show(runs, script)


def test_an_error_of_the_reading_thread_ends_the_dashboard(
    runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("linftui.tui.poller.read_facts", fail)

    async def script(person: Person) -> None:
        await person.until(lambda: person.app._exception)

    with pytest.raises(ZeroDivisionError):
        show(runs, script)


def test_nothing_is_left_behind(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.until(lambda: person.app.rows)

    before = threading.active_count()
    show(runs, script)
    assert not [t for t in threading.enumerate() if t.name.startswith("linftui")] and before


def test_work_that_hangs_does_not_keep_one_from_leaving(runs: Path, show: Show) -> None:
    hanging = threading.Event()

    async def script(person: Person) -> None:
        person.app.in_background(lambda tell: (tell("downloading"), hanging.wait(60)), lambda _: None)
        await person.sees("downloading")
        await person.press("q")

    show(runs, script)
    assert not hanging.is_set()
    hanging.set()


@pytest.mark.slow
def test_a_runs_life_by_keys(tiny_recipe: Path, tmp_path: Path, show: Show) -> None:
    """Launch, watch, stop, resume, certify: real processes, which need no dashboard to go on."""
    run = RunPaths(tmp_path / "runs" / "mine")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small.yaml").write_text(tiny_recipe.read_text())

    async def script(person: Person) -> None:
        await person.until(lambda: person.app.machine)
        await person.press("R")
        await person.sees("small")
        await person.press("home")  # the folder's own recipes come first
        await person.sees("2 × 16 net on digits")
        await person.press("enter")
        await person.type("epochs=20000 log.every_steps=1")
        await person.press("tab", "tab")
        await person.type("mine")
        await person.sees("20,000 epochs")
        await person.press("enter")
        await person.sees("● running", "mine", "certified accuracy · test · eps 0.1")
        await person.sees("started attempt 1", "ETA")
        await person.press("S", "enter")
        await person.sees("■ stopped", "✓ asked", "✓ seen by the ranks", "✓ saved step", "✓ exited")
        await person.press("U")
        await person.sees("attempt 2", "● running", "ETA")
        await person.press("C")
        await person.sees("eps", "nothing was certified yet")
        await person.press("enter")
        await person.sees("proved  certified")
        await person.press("escape", "S", "enter")
        await person.sees("■ stopped")

    show(tmp_path / "runs", script, size=(120, 40))
    assert run_state(run) == "stopped"
    [certificate] = run.certificates.glob("step-*/summary.json")
    summary: Any = read_record(certificate, CertificateSummary)
    assert summary.complete and summary.eps_exact == "0.1"


@pytest.mark.slow
def test_a_run_goes_on_when_the_dashboard_is_left(tiny_recipe: Path, tmp_path: Path, show: Show) -> None:
    run = RunPaths(tmp_path / "runs" / "mine")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small.yaml").write_text(tiny_recipe.read_text())

    async def begin(person: Person) -> None:
        await person.until(lambda: person.app.machine)
        await person.press("R")
        await person.sees("small")
        await person.press("home")
        await person.sees("2 × 16 net")
        await person.press("enter")
        await person.type("epochs=20000")
        await person.press("tab", "tab")
        await person.type("mine")
        await person.press("enter")
        await person.sees("● running")
        await person.press("q")

    async def end(person: Person) -> None:
        await person.sees("● running", "1 running")
        await person.press("S", "enter")
        await person.sees("■ stopped")

    show(tmp_path / "runs", begin)
    assert run_state(run) == "running"
    show(tmp_path / "runs", end)
