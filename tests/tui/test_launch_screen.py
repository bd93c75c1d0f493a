"""Training a recipe from the dashboard: what is typed is checked, said of, and begun."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from person import Person
from textual.widgets import Input

from linftui.rundir.paths import RunPaths
from linftui.tui import operations
from linftui.tui.operations import LaunchRequest
from linftui.tui.screens.launch import LaunchScreen
from linftui.tui.screens.run import RunScreen
from linftui.tui.screens.runs import RunsScreen
from linftui.tui.widgets.chart import Chart

Show = Callable[..., None]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[LaunchRequest]:
    """What was asked to be launched; nothing is."""
    requests: list[LaunchRequest] = []

    def launch(store: object, request: LaunchRequest, tell: object) -> None:
        requests.append(request)
        raise operations.UsageError("not in this test [b]", "really")

    monkeypatch.setattr(operations, "launch", launch)
    return requests


async def form(person: Person) -> LaunchScreen:
    """The form, once recipes are listed and the first was checked."""
    await person.until(lambda: person.app.machine)
    await person.press("R")
    await person.sees("Train a recipe", "scikit-learn's 8x8 digits", "4 × 256 net on digits", "350 epochs")
    screen = person.app.screen
    assert isinstance(screen, LaunchScreen)
    return screen


def test_a_recipe_is_chosen_changed_and_begun(tmp_path: Path, show: Show, begun: list[LaunchRequest]) -> None:
    async def script(person: Person) -> None:
        await form(person)
        await person.press("up", "down", "enter")
        await person.type("epochs=120 optimizer.lr=0.02")
        await person.sees("120 epochs")
        await person.press("tab", "tab")
        await person.type("mine")
        await person.until(lambda: person.app.screen._ready and person.app.screen._ready.name)
        await person.press("enter")
        await person.sees("That did not work", "not in this test [b]", "really")
        await person.press("enter")
        assert isinstance(person.app.screen, RunsScreen)

    show(tmp_path / "runs", script)
    assert begun == [LaunchRequest("digits", ("epochs=120", "optimizer.lr=0.02"), "auto", "mine")]


def test_mistakes_are_said_as_one_types(tmp_path: Path, show: Show, begun: list[LaunchRequest]) -> None:
    async def script(person: Person) -> None:
        screen = await form(person)
        changes, devices = screen.query_one("#changes", Input), screen.query_one("#devices", Input)
        changes.value = "optimizer.lr=[red]"
        await person.sees("--set optimizer.lr=[red]: optimizer.lr must be a number")
        changes.focus()
        await person.press("enter")
        await person.sees("mend what is said in red first")
        changes.value = "epochs='3"
        await person.sees("changes: no closing quotation")
        changes.value = "epochs=95 p.end_epoch=99"
        await person.sees("95 epochs", "p.end_epoch (99) lies beyond epochs (95)")
        devices.value = "gpu:99"
        await person.sees("--devices gpu:99 asks for 99")
        devices.value = ""
        screen.query_one("#recipe", Input).value = "nowhere.yaml"
        await person.sees("nowhere.yaml: no such recipe")
        await person.press("escape")
        assert isinstance(person.app.screen, RunsScreen)

    show(tmp_path / "runs", script)
    assert begun == []


def test_recipes_of_the_folder_come_first_and_broken_ones_say_so(tmp_path: Path, show: Show) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "broken.yaml").write_text("name: [bold\n")
    (tmp_path / "recipes" / "digits.yaml").write_text(
        (_recipe("digits")).replace("epochs: 350", "epochs: 77")
    )

    async def script(person: Person) -> None:
        await person.until(lambda: person.app.machine)
        await person.press("R")
        await person.sees("broken", "not valid YAML", "77 epochs", "mnist-small")

    show(tmp_path / "runs", script, size=(120, 40))


def _recipe(name: str) -> str:
    return operations.load_recipe(name).text


def test_the_plan_of_p_is_drawn(tmp_path: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await form(person)
        [curve] = screen.query_one(Chart).curves
        assert curve.series.has_infinity and curve.series.x[-1] == 350.0
        await person.sees("∞", "p, as planned")

    show(tmp_path / "runs", script, size=(120, 40))


def test_what_is_refused_has_no_plan(tmp_path: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await form(person)
        assert screen.query_one(Chart).curves
        screen.query_one("#changes", Input).value = "epochs=none"
        await person.sees("epochs must be")
        assert not screen.query_one(Chart).curves and "as planned" not in person.screen()
        screen.query_one("#changes", Input).value = ""
        await person.until(lambda: screen.query_one(Chart).curves)
        await person.sees("p, as planned")
        screen.query_one("#recipe", Input).value = ""
        await person.sees("recipe: none is chosen")
        assert not screen.query_one(Chart).curves

    show(tmp_path / "runs", script, size=(120, 40))


def test_one_types_on_behind_the_name_that_was_chosen(tmp_path: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await form(person)
        await person.press("up", "down", "tab")
        await person.type("xyz")
        assert screen.query_one("#recipe", Input).value == "digitsxyz"

    show(tmp_path / "runs", script)


def test_enter_pressed_twice_launches_once(runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ready = list[LaunchRequest](), threading.Event()

    def launch(store: object, request: LaunchRequest, tell: object) -> RunPaths:
        begun.append(request)
        ready.wait(60)
        return RunPaths(runs / "tiny-run")

    monkeypatch.setattr(operations, "launch", launch)

    async def script(person: Person) -> None:
        await form(person)
        await person.press("enter")
        await person.press_twice("enter")
        await person.until(lambda: begun)
        await person.pilot.pause(0.2)
        assert [type(screen) for screen in person.app.screen_stack[1:]] in (
            [RunsScreen],
            [RunsScreen, RunScreen],
        )
        ready.set()
        await person.until(lambda: person.app.status == "" and isinstance(person.app.screen, RunScreen))

    show(runs, script)
    assert len(begun) == 1


def test_what_is_typed_disturbs_nothing_that_is_under_way(
    runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each letter is checked in the background: neither a download's word nor the disk notices."""
    looks, ready = list[int](), threading.Event()

    async def script(person: Person) -> None:
        screen = await form(person)
        monkeypatch.setattr(person.app.poller, "look_closely", lambda: looks.append(1))
        person.app.do("hanging", lambda tell: (tell("downloading"), ready.wait(60)), lambda _: None)
        await person.until(lambda: person.app.status == "downloading")
        screen.query_one("#changes", Input).value = "epochs=95"
        await person.sees("95 epochs")
        assert person.app.status == "downloading" and looks == []
        ready.set()
        await person.until(lambda: looks == [1])

    show(runs, script)
