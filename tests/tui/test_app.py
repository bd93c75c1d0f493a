"""The dashboard as a whole: quick to start, honest on leaving, and a run's life by keys alone."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from support.person import Person, end
from support.textual_inside import failure

from linftui.actions import resume
from linftui.actions.recipes import KnownRecipe
from linftui.actions.resume import ResumePlan, ResumeRequest
from linftui.errors import UsageError
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import CertificateSummary, ExitRecord, StateRecord, TrainerRecord
from linftui.rundir.state import run_state
from linftui.rundir.writer import write_record
from linftui.tui import app as dashboard_app
from linftui.tui.app import Dashboard, open_dashboard
from linftui.tui.live.run_list import read_row
from linftui.tui.screens import launch

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
        (1, "1 run is still going; run linftui to see it\n"),
        (2, "2 runs are still going; run linftui to see them\n"),
    ],
)
def test_what_goes_on_is_said_on_leaving(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], going_on: int, said: str
) -> None:
    finished = read_row(RunPaths(runs / "tiny-run"))
    running = replace(finished, summary=replace(finished.summary, state="running"))

    def leave(dashboard: Dashboard) -> None:
        dashboard.rows = (*[running] * going_on, finished)

    monkeypatch.setattr(Dashboard, "run", leave)
    monkeypatch.setattr(dashboard_app, "_end_with_the_terminal", lambda: None)  # there is none here
    assert open_dashboard(runs) == 0
    assert capsys.readouterr().out == said


def test_what_is_no_folder_of_runs_is_said_before_the_terminal_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is a file, not a folder of runs"):
        open_dashboard(tmp_path / "file")


def test_a_failure_in_the_background_is_shown_and_told_how_to_mend(runs: Path, show: Show) -> None:
    def fail(_: object) -> None:
        raise UsageError("[red]no[/] \x1b[2J", "do [b]that[/b] instead")

    async def script(person: Person) -> None:
        person.app.do("failing", fail, lambda _: None)
        await person.sees("That did not work", "[red]no[/] \ufffd[2J", "do [b]that[/b] instead")
        await person.press("escape")
        assert "That did not work" not in person.screen()

    show(runs, script)


def test_an_error_in_the_background_that_nobody_foresaw_is_shown_and_ends_nothing(
    runs: Path, show: Show
) -> None:
    def fail(tell: Callable[[str], None]) -> None:
        tell("downloading")
        raise ZeroDivisionError("a bug")

    async def script(person: Person) -> None:
        person.app.do("failing", fail, lambda _: None)
        await person.sees("That did not work", "ZeroDivisionError: a bug", "runs are not")
        await person.press("escape")
        await person.sees("tiny-run")
        assert person.app.status == "" and "downloading" not in person.screen()

    show(runs, script)


def test_a_task_under_way_is_not_begun_again_and_hides_no_other(runs: Path, show: Show) -> None:
    first, second, done = threading.Event(), threading.Event(), list[str]()

    def work(name: str, until: threading.Event, tell: Callable[[str], None]) -> str:
        tell(f"doing {name}")
        until.wait(60)
        return name

    async def script(person: Person) -> None:
        for name, until in (("one", first), ("one", first), ("two", second)):
            person.app.do(f"doing {name}", partial(work, name, until), done.append)
        await person.sees("doing one already")
        await person.until(lambda: person.app.status == "doing two")
        second.set()
        await person.until(lambda: person.app.status == "doing one")
        assert done == ["two"]
        first.set()
        await person.until(lambda: person.app.status == "")
        assert done == ["two", "one"]
        person.app.do("doing one", partial(work, "one", first), done.append)
        await person.until(lambda: done == ["two", "one", "one"])

    show(runs, script)


def test_an_answer_that_comes_once_its_screen_is_gone_is_dropped(
    runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = threading.Event()
    known = launch.known_recipes

    def late() -> list[KnownRecipe]:
        ready.wait(60)
        return known()

    monkeypatch.setattr(launch, "known_recipes", late)

    async def script(person: Person) -> None:
        await person.until(lambda: person.app.machine)
        await person.press("R")
        await person.sees("Train a recipe")
        await person.press("escape")
        ready.set()
        await person.pilot.pause(1.0)
        await person.sees("tiny-run")
        assert failure(person.app) is None

    show(runs, script)


@pytest.fixture
def stopped(runs: Path) -> RunPaths:
    """The run, as if somebody had stopped it."""
    paths = RunPaths(runs / "tiny-run")
    write_record(paths.exit, ExitRecord(attempt=1, outcome="stopped", code=0, time=time.time()))
    return paths


@pytest.mark.parametrize("first", [None, "tiny-run"])
def test_resuming_asks_and_says_from_where(
    stopped: RunPaths, show: Show, monkeypatch: pytest.MonkeyPatch, first: str | None
) -> None:
    begun = list[str]()
    monkeypatch.setattr(resume, "begin", lambda plan, tell: begun.append(plan.request.paths.id))
    trainer = stopped.checkpoint(24).trainer
    record = read_record(trainer, TrainerRecord)
    assert record is not None

    async def script(person: Person) -> None:
        await person.sees("■ stopped")
        await person.until(lambda: not person.app.screen.why_not("resume"))
        await person.press("U")
        await person.sees("Resume tiny-run?", "from step 36.", "resume from step 36")
        await person.press("escape")
        write_record(trainer, structs.replace(record, attempt=2))  # a later attempt's is newer
        await person.press("U")
        await person.sees("resume from step 24")
        await person.press("n")
        for checkpoint in stopped.checkpoints.iterdir():
            (checkpoint / "trainer.json").write_text("damaged")
        await person.press("U")
        await person.sees("That did not work", "tiny-run has no intact checkpoint to resume from")
        await person.press("escape", "enter", "escape")  # what is asked below has no yes
        assert begun == []
        shutil.rmtree(stopped.checkpoints)
        await person.press("U")
        await person.sees("There is no checkpoint: it starts again from step 0.", "start again")
        assert begun == []
        await person.press("enter")
        await person.until(lambda: begun == ["tiny-run"])

    show(stopped.root.parent, script, first=first)


def test_a_resume_key_pressed_twice_resumes_once(
    stopped: RunPaths, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ready = list[str](), threading.Event()

    def begin(plan: ResumePlan, tell: object) -> int:
        begun.append(plan.request.paths.id)
        ready.wait(60)
        return 2

    monkeypatch.setattr(resume, "begin", begin)

    async def script(person: Person) -> None:
        await person.sees("■ stopped")
        await person.press_twice("U")
        await person.sees("Resume tiny-run?", "resume from step 36")
        assert len(person.app.screen_stack) == 3
        await person.press("enter", "U", "enter")  # typed ahead
        await person.sees("resuming tiny-run already")
        ready.set()
        await person.sees("attempt 2 has begun")

    show(stopped.root.parent, script)
    assert begun == ["tiny-run"]


def test_nothing_is_resumed_before_it_is_said_from_where(
    stopped: RunPaths, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, found = list[str](), threading.Event()

    check = resume.check

    def late(request: ResumeRequest) -> ResumePlan:
        found.wait(60)
        return check(request)

    monkeypatch.setattr(resume, "begin", lambda plan, tell: begun.append(plan.request.paths.id))
    monkeypatch.setattr(resume, "check", late)

    async def script(person: Person) -> None:
        await person.sees("■ stopped")
        await person.press("U")
        await person.sees("Resume tiny-run?", "Looking for its newest checkpoint.")
        await person.press("enter", "y")
        found.set()
        await person.sees("resume from step 36")
        assert begun == []

    show(stopped.root.parent, script)


def test_before_a_run_is_resumed_it_is_said_that_it_would_end_at_logout(
    stopped: RunPaths, show: Show, ends_at_logout: str
) -> None:
    async def script(person: Person) -> None:
        await person.sees("■ stopped")
        await person.press("U")
        await person.sees("from step 36. Warning: this", "loginctl enable-linger.")

    show(stopped.root.parent, script)


def test_devices_that_are_gone_are_told_with_how_to_choose_others(stopped: RunPaths, show: Show) -> None:
    state = read_record(stopped.state, StateRecord)
    assert state is not None
    write_record(stopped.state, structs.replace(state, devices=["GPU-gone"]))

    async def script(person: Person) -> None:
        await person.sees("■ stopped")
        await person.press("U")
        await person.sees("there is no GPU GPU-gone here", "choose others with: linftui resume", "--devices")

    show(stopped.root.parent, script)


def test_an_error_of_the_reading_thread_ends_the_dashboard(
    runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("linftui.tui.live.poller.read_facts", fail)

    async def script(person: Person) -> None:
        await person.until(lambda: failure(person.app))

    with pytest.raises(ZeroDivisionError):
        show(runs, script)


def test_nothing_is_left_behind(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.until(lambda: person.app.rows)

        assert any(thread.name.startswith("linftui") for thread in threading.enumerate())

    show(runs, script)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("linftui")]


LEAVE = """\
import sys, threading
from pathlib import Path
from linftui.rundir.store import RunStore
from linftui.tui.app import Dashboard

async def leave(pilot):
    pilot.app.do("hanging", lambda tell: (tell("downloading"), threading.Event().wait()), print)
    while pilot.app.status != "downloading":
        await pilot.pause(0.02)
    await pilot.press("q")

Dashboard(RunStore(Path(sys.argv[1]))).run(headless=True, auto_pilot=leave)
print("left")
"""


def test_work_that_hangs_does_not_keep_one_from_leaving(runs: Path) -> None:
    """The work never ends; the process does."""
    left = subprocess.run([sys.executable, "-c", LEAVE, runs], capture_output=True, text=True, timeout=60)
    assert (left.returncode, left.stdout, left.stderr) == (0, "left\n", "")


@pytest.fixture
def mine(tiny_recipe: Path, tmp_path: Path) -> Iterator[RunPaths]:
    """The run `mine` that is to be launched from the recipe `small`; it does not outlive the test."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small.yaml").write_text(tiny_recipe.read_text())
    run = RunPaths(tmp_path / "runs" / "mine")
    yield run
    end(run)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_runs_life_by_keys(mine: RunPaths, tmp_path: Path, show: Show) -> None:
    """Launch, watch, stop, resume, certify: real processes, which need no dashboard to go on."""

    async def script(person: Person) -> None:
        await person.until(lambda: person.app.machine)
        await person.press("R")
        await person.sees("small")
        await person.press("home")  # the folder's own recipes come first
        await person.sees("2 × 16 net on digits")
        await person.press("enter")
        await person.type("epochs=100000 log.every_steps=1")
        await person.press("tab", "tab")
        await person.type("mine")
        await person.sees("100,000 epochs")
        await person.press("enter")
        await person.sees("● running", "mine", "certified accuracy · test · eps 0.1")
        await person.sees("ETA", "test epoch")
        await person.press("S", "enter")
        await person.sees("■ stopped", "✓ asked", "✓ seen by the ranks", "✓ saved step", "✓ exited")
        await person.press("U")
        await person.sees("Resume mine?", "resume from step")
        await person.press("enter")
        await person.sees("attempt 2", "● running", "ETA")
        await person.press("C")
        await person.sees("eps", "nothing has been certified yet")
        await person.press("enter")
        await person.sees("proved  certified")
        await person.press("escape", "S", "enter")
        await person.sees("■ stopped")

    show(tmp_path / "runs", script, size=(120, 40))
    assert run_state(mine) == "stopped"
    [certificate] = mine.certificates.glob("step-*/summary.json")
    summary: Any = read_record(certificate, CertificateSummary)
    assert summary.complete and summary.eps_exact == "0.1"


@pytest.mark.slow
def test_a_run_goes_on_when_the_dashboard_is_left(mine: RunPaths, tmp_path: Path, show: Show) -> None:
    async def begin(person: Person) -> None:
        await person.until(lambda: person.app.machine)
        await person.press("R")
        await person.sees("small")
        await person.press("home")
        await person.sees("2 × 16 net")
        await person.press("enter")
        await person.type("epochs=100000")
        await person.press("tab", "tab")
        await person.type("mine")
        await person.press("enter")
        await person.sees("● running")
        await person.press("q")

    async def stop(person: Person) -> None:
        await person.sees("● running", "1 running")
        await person.press("S", "enter")
        await person.sees("■ stopped")

    show(tmp_path / "runs", begin)
    assert run_state(mine) == "running"
    show(tmp_path / "runs", stop)
