"""Certifying from the dashboard: what is asked, how it goes, what was proved."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.forgeries import NAME, edit
from support.person import Person
from textual.widgets import Input

from linftui.actions import certify
from linftui.actions.certify import CertifyPlan
from linftui.rundir import certificates as known
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import CertifyLogPaths, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import CertificateSummary, CertifyRequest, MemberRecord
from linftui.rundir.writer import write_record
from linftui.text import accuracy, wilson
from linftui.tui.live.run_follower import Standing
from linftui.tui.live.run_list import read_row
from linftui.tui.screens.certify import SHOWN, CertificateList, CertifyScreen
from linftui.tui.screens.run import RunScreen

Show = Callable[..., None]

NEWER, OLDEST = "step-00000036-eps-8_255", "step-00000036-eps-0.1-re-estimated-first-50"


RIGHT = {"eps": "0.1", "checkpoint": "latest", "means": "running", "devices": "auto"}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[CertifyPlan]:
    """What was asked to be certified; nothing is."""
    plans: list[CertifyPlan] = []
    monkeypatch.setattr(certify, "begin", lambda plan, tell: plans.append(plan))
    return plans


async def form(person: Person) -> CertifyScreen:
    """The form over the run's screen, filled in from the recipe."""
    await person.until(lambda: person.app.rows)
    await person.press("C")
    screen = person.app.screen
    assert isinstance(screen, CertifyScreen) and isinstance(person.app.screen_stack[-2], RunScreen)
    await person.until(lambda: screen.query_one("#eps", Input).value == "0.1")
    return screen


def test_what_is_typed_is_certified(runs: Path, show: Show, begun: list[CertifyPlan]) -> None:
    async def script(person: Person) -> None:
        screen = await form(person)
        await person.type(", 8/255")  # behind the radius that is there already
        await person.press("tab")
        screen.query_one("#checkpoint", Input).value = "36"
        await person.press("enter")
        await person.sees("the certification has begun")
        await person.press("escape")
        assert isinstance(person.app.screen, RunScreen)

    show(runs, script)
    [plan] = begun
    assert plan.paths.root == runs / "tiny-run"
    assert plan.request == CertifyRequest(eps=["0.1", "8/255"], checkpoint="36", means="running")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("eps", "2", "eps must lie in [0, 1]"),
        ("eps", "[red]", "must be a fraction such as 8/255"),
        ("checkpoint", "newest", "is not latest, best or a step"),
        ("checkpoint", "best", "tiny-run has no best checkpoint; set data.holdout in the recipe"),
        ("checkpoint", "999", "tiny-run has no complete checkpoint at step 999; it has: 24, 36"),
        ("devices", "toaster", "  devices 'toaster' is not understood"),
        ("means", "mine", "is neither running nor re-estimated"),
    ],
)
def test_mistakes_are_said(
    runs: Path, show: Show, begun: list[CertifyPlan], field: str, value: str, said: str
) -> None:
    async def script(person: Person) -> None:
        screen = await form(person)
        screen.query_one(f"#{field}", Input).value = value
        await person.sees(said)
        await person.press("enter")
        await person.sees("fix what is shown in red first")
        screen.query_one(f"#{field}", Input).value = RIGHT[field]
        await person.until(lambda: said not in person.screen())
        assert person.app.screen is screen

    show(runs, script)
    assert begun == []


@pytest.mark.slow
def test_what_the_worker_refuses_is_told_in_the_form_and_left_nowhere_else(runs: Path, show: Show) -> None:
    """Where weights are damaged is known once they are loaded."""
    for weights in (runs / "tiny-run" / "checkpoints").glob("*/model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1])
    refusal = "tiny-run has no checkpoint to load: checkpoint step-00000036 is damaged"

    async def script(person: Person) -> None:
        screen = await form(person)
        await person.press("tab", "tab", "tab")
        screen.query_one("#devices", Input).value = "cpu"
        await person.press("enter")
        await person.sees(refusal, "nothing has been certified yet")
        assert screen.query_one("#devices", Input).value == "cpu"
        await person.type(":1")
        await person.until(lambda: refusal not in person.screen())
        await person.press("escape")
        await person.sees("✓ finished")
        await person.pilot.pause(1.0)
        assert "certify " not in person.screen().replace("C certify ", "")

    show(runs, script, size=(120, 40))
    assert list((runs / "tiny-run" / "logs").glob("certify-*"))


def test_what_was_proved_is_listed(certified_runs: Path, show: Show) -> None:
    paths, said = RunPaths(certified_runs / "tiny-run"), {}
    for name in (NAME, OLDEST):
        summary = read_record(paths.certificate(name).summary, CertificateSummary)
        assert summary is not None
        clean = accuracy(summary.clean_accuracy)
        spread = accuracy(wilson(summary.certified_accuracy, summary.n))
        said[name] = f"certified {accuracy(summary.certified_accuracy)} ± {spread}  clean {clean}  eps 0.1"

    async def script(person: Person) -> None:
        await form(person)
        await person.sees(
            f"proved  {said[NAME]}  step 36  360 images", "at eps 8/255, not the recipe's 0.1  certified "
        )
        await person.sees(f"proved  first 50 of 360 images, re-estimated means  {said[OLDEST]}")
        assert "unverified" not in person.screen()
        await person.press("escape")
        await person.until(lambda: person.screen().count("proved  ") == 1)
        assert said[NAME] in person.line("proved  ")  # the one that counts, on the run's own screen

    show(certified_runs, script, size=(120, 40))


def test_what_nobody_should_rely_on_is_named_unverified_and_comes_last(
    certified_runs: Path, show: Show
) -> None:
    paths = RunPaths(certified_runs / "tiny-run")
    edit(paths.certificate(NEWER).summary, certified_accuracy=7.5)

    async def script(person: Person) -> None:
        await form(person)
        await person.sees("eps 0.1  step 36  360 images", "Expected `float` <= 1.0 - at `$.cert")
        seen = person.screen()
        assert "7.5" not in seen and seen.count("proved  ") == 3  # one of them in the run's own screen
        assert seen.index("unverified  summary.json: cannot be read") > seen.rindex("proved")
        await person.press("escape")
        await person.until(lambda: "unverified" not in person.screen())
        await person.sees("proved", "eps 0.1  step 36  360 images")
        shutil.rmtree(paths.certificate(OLDEST).root)
        paths.certificate(NAME).samples.unlink()
        await person.sees("unverified  its samples cannot be read: No such file or directory")
        assert "proved" not in person.screen() and NAME in person.line("unverified")
        await person.press("C")
        await person.sees(f"{NAME} says certified", "summary.json: cannot be read")
        assert "proved" not in person.screen()

    show(certified_runs, script, size=(140, 40))


def test_certificates_beyond_those_shown_are_counted(certified_runs: Path) -> None:
    paths = RunPaths(certified_runs / "tiny-run")
    three = known.Certificates(paths).look()
    listed = CertificateList()
    listed.show(Standing(read_row(paths), certificates=three * 3))
    *lines, more = [line.plain for line in listed.make_lines(100, 0)]
    assert len(lines) == SHOWN and more == "and 1 more, which linftui show lists"


def test_nothing_proved_yet(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await form(person)
        await person.sees("nothing has been certified yet", "✓ finished")  # over the run, which is still seen
        box = screen.query_one(".box").region
        assert box.x > 0 and box.y > 0

    show(runs, script, size=(120, 45))


def test_over_a_run_that_does_not_change_any_more_all_is_there_at_once(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.sees("✓ finished", "eps 0.1", "not a certificate")
        await person.pilot.pause(1.5)  # nothing new is told from here on
        await person.press("C")
        screen = person.app.screen
        assert isinstance(screen, CertifyScreen) and screen.query_one("#eps", Input).value == "0.1"
        await person.sees("nothing has been certified yet")

    show(runs, script, first="tiny-run")


def test_enter_pressed_twice_certifies_once(runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ready = list[CertifyPlan](), threading.Event()

    def begin(plan: CertifyPlan, tell: object) -> None:
        begun.append(plan)
        ready.wait(60)

    monkeypatch.setattr(certify, "begin", begin)

    async def script(person: Person) -> None:
        await form(person)
        await person.press_twice("enter")
        await person.sees("certifying tiny-run 0.1 latest running already")
        ready.set()
        await person.sees("the certification has begun")

    show(runs, script)
    assert len(begun) == 1


def test_what_is_going_on_can_be_stopped(runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = RunPaths(runs / "tiny-run").certify_logs("20260101-000000-1-000000000")
    logs.root.mkdir(parents=True)
    stopped: list[CertifyLogPaths] = []

    def stop(_: RunPaths, asked: CertifyLogPaths) -> None:
        stopped.append(asked)
        logs.worker.unlink()  # so that nobody takes it for going on

    monkeypatch.setattr(certify, "stop_certification", stop)

    async def script(person: Person) -> None:
        await form(person)
        assert "ctrl+s" not in person.screen()
        await person.press("ctrl+s")
        await person.sees("nothing is being certified")
        me = describe_process(os.getpid(), "certify")
        assert me is not None
        write_record(logs.worker, MemberRecord(host=this_host(), process=me))
        await person.sees("loading the network", "ctrl+s stop certifying")
        await person.press("ctrl+s")
        await person.sees("Stop certifying tiny-run?", "complete by then are kept")
        await person.press("escape")
        assert stopped == []
        await person.press("ctrl+s", "enter")
        await person.sees("the certification was asked to stop")
        await person.until(lambda: "ctrl+s" not in person.screen())

    show(runs, script, size=(120, 40))
    assert stopped == [logs]
