"""Training a recipe from the dashboard: what is typed is checked, said of, and begun."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.person import Person
from textual.events import Key
from textual.screen import Screen
from textual.widgets import Input
from textual.widgets._toast import Toast

from linftui.actions import train
from linftui.actions.train import TrainPlan, TrainRequest
from linftui.devices import Gpu, snapshot
from linftui.errors import LinftuiError, UsageError
from linftui.launch.placement import plan_devices
from linftui.recipe.load import load_recipe
from linftui.rundir.paths import RunPaths
from linftui.rundir.store import RunStore
from linftui.tui.chart.chart import Chart
from linftui.tui.screens.form import FormScreen, form_words
from linftui.tui.screens.launch import LaunchScreen
from linftui.tui.screens.modal import HelpScreen, Palette
from linftui.tui.screens.run import RunScreen
from linftui.tui.screens.runs import RunsScreen

Show = Callable[..., None]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[TrainRequest]:
    """What was asked to be launched; nothing is."""
    requests: list[TrainRequest] = []

    def begin(store: object, plan: TrainPlan, tell: object) -> None:
        requests.append(plan.request)
        raise UsageError("not in this test [b]", "really")

    monkeypatch.setattr(train, "begin", begin)
    return requests


async def form(person: Person) -> LaunchScreen:
    """The form, once recipes are listed and the first was checked."""
    await person.until(lambda: person.app.machine)
    await person.press("R")
    await person.sees("Train a recipe", "scikit-learn's 8x8 digits", "4 × 256 net on digits", "350 epochs")
    screen = person.app.screen
    assert isinstance(screen, LaunchScreen)
    return screen


def test_a_recipe_is_chosen_changed_and_begun(tmp_path: Path, show: Show, begun: list[TrainRequest]) -> None:
    async def script(person: Person) -> None:
        await form(person)
        await person.press("up", "down", "enter")
        await person.type("epochs=120 optimizer.lr=0.02")
        await person.sees("120 epochs")
        await person.press("tab", "tab")
        await person.type("mine")
        await person.press("enter")
        await person.sees("not in this test [b]; really")

    show(tmp_path / "runs", script)
    assert begun == [TrainRequest("digits", ("epochs=120", "optimizer.lr=0.02"), "auto", "mine")]


def test_what_is_typed_ahead_lands_in_the_field_it_is_meant_for(
    tmp_path: Path, show: Show, begun: list[TrainRequest]
) -> None:
    async def script(person: Person) -> None:
        await form(person)
        await person.press("tab", "tab")
        for key in [*"seed=5", "tab", *":2", "tab", *"mine"]:
            names = {"=": "equals_sign", ":": "colon"}
            key_event = Key(names.get(key, key), "\t" if key == "tab" else key)
            person.app.post_message(key_event)  # nobody waits for what comes of the one before
        fields = ("changes", "devices", "name")
        wanted = ["seed=5", "auto:2", "mine"]
        await person.until(
            lambda: [person.app.screen.query_one(f"#{field}", Input).value for field in fields] == wanted
        )

    show(tmp_path / "runs", script)


def test_mistakes_are_said_as_one_types(runs: Path, show: Show, begun: list[TrainRequest]) -> None:
    async def script(person: Person) -> None:
        screen = await form(person)
        changes, devices = screen.query_one("#changes", Input), screen.query_one("#devices", Input)
        changes.value = "optimizer.lr=[red]"
        await person.sees("  optimizer.lr=[red]: optimizer.lr must be a number")
        changes.focus()
        await person.press("enter")
        await person.sees("fix what is shown in red first")
        changes.value = "epochs='3"
        await person.sees("changes: no closing quotation")
        changes.value = "epochs=95 p.end_epoch=99"
        await person.sees("95 epochs", "p.end_epoch (99) lies beyond epochs (95)")
        devices.value = "gpu:99"
        await person.sees("  devices gpu:99 asks for 99")
        devices.value = ""
        for name, said in (
            ("tiny-run", "runs/tiny-run exists already; choose another name"),
            ("latest", "  name latest is taken: it stands for the newest run; choose another name"),
            ("../x", "  name '../x' is not a plain name; use letters, digits, dots, dashes"),
        ):
            screen.query_one("#name", Input).value = name
            await person.sees(said)
        screen.query_one("#name", Input).value = "free"
        await person.sees("95 epochs")
        screen.query_one("#recipe", Input).value = "nowhere.yaml"
        await person.sees("nowhere.yaml: no such recipe")
        await person.press("escape")
        assert isinstance(person.app.screen, RunsScreen)

    show(runs, script, size=(200, 30))
    assert begun == []


def test_a_refusal_is_told_in_the_form_which_keeps_every_field(tmp_path: Path, show: Show) -> None:
    """The data are not there, which is known once the launch looks for them."""
    (tmp_path / "data").mkdir()
    fields = {
        "recipe": "mnist-small", "changes": f"data.root={tmp_path / 'data'}", "devices": "cpu", "name": "mine"
    }  # fmt: skip

    async def script(person: Person) -> None:
        screen = await form(person)

        def typed() -> dict[str, str]:
            return {name: screen.query_one(f"#{name}", Input).value for name in fields}

        for name, value in fields.items():
            screen.query_one(f"#{name}", Input).value = value
        screen.query_one("#name", Input).focus()
        await person.sees("net on mnist")
        for _ in range(2):  # what was refused may be asked for again as it is
            await person.press("enter")
            await person.sees("gz is missing;")
            assert person.app.screen is screen and typed() == fields and screen.focused is not None
            assert screen.focused.id == "name" and "net on mnist" not in person.screen()
        await person.type("-2")
        await person.sees("net on mnist")
        assert "gz is missing;" not in person.screen()

    show(tmp_path / "runs", script, size=(120, 40))
    assert not (tmp_path / "runs").exists()


def test_what_is_refused_once_the_form_says_something_else_is_told_all_the_same(
    runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = threading.Event()

    def begin(store: object, plan: TrainPlan, tell: Callable[[str], None]) -> RunPaths:
        tell("downloading digits")
        ready.wait(60)
        raise UsageError("no --devices gpu:9 here", "use --devices cpu")

    monkeypatch.setattr(train, "begin", begin)

    async def script(person: Person) -> None:
        for leave in (False, True):
            ready.clear()
            screen = await form(person)
            screen.query_one("#name", Input).focus()
            await person.press("enter")
            await person.sees("Train a recipe  downloading digits")
            await person.press(*(["escape"] if leave else ["x", "y"]))
            ready.set()
            await person.sees("That did not work", "no devices gpu:9 here", "use devices cpu")
            await person.press("enter")
            if not leave:
                await person.sees("Train a recipe", "xy")
                await person.press("escape")

    show(runs, script)


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
    return load_recipe(name).text


@pytest.mark.parametrize(
    ("key", "kind"), [("R", FormScreen), ("C", FormScreen), ("colon", Palette), ("question_mark", HelpScreen)]
)
def test_ctrl_c_closes_what_is_on_top_and_ends_nothing(
    runs: Path, show: Show, key: str, kind: type[Screen[Any]]
) -> None:
    async def script(person: Person) -> None:
        await person.until(lambda: person.app.rows)
        for _ in range(2):
            await person.press(key)
            await person.until(lambda: isinstance(person.app.screen, kind))
            await person.press("tab", "ctrl+c")
            await person.until(lambda: not isinstance(person.app.screen, kind))
        assert not person.app.screen.query(Toast) and person.app.is_running

    show(runs, script)


def test_that_a_run_would_end_at_logout_is_said_below_the_fields(
    tmp_path: Path, show: Show, ends_at_logout: str
) -> None:
    async def script(person: Person) -> None:
        await form(person)
        await person.sees(ends_at_logout)

    show(tmp_path / "runs", script)


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
        await person.until(lambda: "as planned" not in person.screen())
        assert not screen.query_one(Chart).curves
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
    begun, ready = list[TrainRequest](), threading.Event()

    def begin(store: object, plan: TrainPlan, tell: object) -> RunPaths:
        begun.append(plan.request)
        ready.wait(60)
        return RunPaths(runs / "tiny-run")

    monkeypatch.setattr(train, "begin", begin)

    async def script(person: Person) -> None:
        await form(person)
        await person.press("enter")
        await person.press_twice("enter")
        await person.until(lambda: begun)
        await person.sees("starting digits already")
        assert [type(screen) for screen in person.app.screen_stack[1:]] == [RunsScreen, LaunchScreen]
        ready.set()
        await person.until(lambda: isinstance(person.app.screen, RunScreen))
        await person.press("escape")
        assert isinstance(person.app.screen, RunsScreen)
        ready.clear()
        await form(person)
        await person.press("enter", "enter", "escape")  # whoever does not wait is told
        ready.set()
        await person.sees("tiny-run has begun")
        assert isinstance(person.app.screen, RunsScreen)

    show(runs, script)
    assert len(begun) == 2


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


@pytest.mark.parametrize("size", [(100, 30), (40, 10)])
def test_what_is_typed_into_is_seen(tmp_path: Path, show: Show, size: tuple[int, int]) -> None:
    async def script(person: Person) -> None:
        await person.until(lambda: person.app.machine)
        await person.press("R")
        screen = person.app.screen
        await person.until(lambda: screen.query_one("#recipe", Input).value)
        await person.press("home")
        await person.sees("cifar-small  CIFAR-10")
        for name in ("recipe", "changes", "devices", "name"):
            await person.press("tab")
            await person.type("ü")
            field = screen.query_one(f"#{name}", Input)
            await person.sees(f"  {name:<10}  {field.value}"[: size[0] - 3])
            assert screen.focused is field and field.value.endswith("ü")
            await person.press("backspace")
        screen.query_one("#name", Input).focus()
        await person.pilot.resize_terminal(40, 10)
        await person.type("../x")
        await person.sees("name        ../x", "name '../x' is not a plain name")

    show(tmp_path / "runs", script, size=size)


REFUSALS: dict[str, Callable[[Path], object]] = {
    "no change": lambda _: load_recipe("digits", ["a"]),
    "a wrong change": lambda _: load_recipe("digits", ["epochs=x"]),
    "an unknown key": lambda _: load_recipe("digits", ["a.b=1"]),
    "a change that is no YAML": lambda _: load_recipe("digits", ["epochs={"]),
    "unknown devices": lambda _: plan_devices("toaster", snapshot()),
    "too many ranks": lambda _: plan_devices("cpu:999", snapshot()),
    "no rank": lambda _: plan_devices("gpu:0", snapshot()),
    "a device named twice": lambda _: plan_devices("0,0", replace(snapshot(), gpus=(GPU,))),
    "too many GPUs": lambda _: plan_devices("gpu:2", replace(snapshot(), gpus=(GPU,))),
    "a name that is taken": lambda runs: RunStore(runs).named("tiny-run"),
    "a name that is none": lambda runs: RunStore(runs).named("../x"),
    "the name of the newest": lambda runs: RunStore(runs).named("latest"),
}
GPU = Gpu(index=0, uuid="GPU-0", name="", memory_total=1, memory_used=0, utilisation=0.0)


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
def test_forms_do_not_speak_of_options(runs: Path, refuse: Callable[[Path], object]) -> None:
    with pytest.raises(LinftuiError) as refused:
        refuse(runs)
    assert "--" in str(refused.value) and "--" not in form_words(str(refused.value))


def test_what_a_person_has_typed_is_told_as_it_is() -> None:
    for text in ("name '--name' is not a plain name", "a--devices b", "--seed=1: unknown key --seed"):
        assert form_words(text) == text
