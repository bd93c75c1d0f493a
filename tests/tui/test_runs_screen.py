"""The list of runs: what it shows, its keys, and runs that are many, damaged, gone or a stranger's."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.person import Person
from support.stand_ins import revive
from textual.events import Key
from textual.widget import Widget
from textual.widgets import Input
from textual.widgets._toast import Toast

from linftui.rundir.paths import RunPaths
from linftui.tui.app import Dashboard
from linftui.tui.live.run_list import read_row
from linftui.tui.screens.run import RunScreen
from linftui.tui.screens.runs import RunsScreen
from linftui.tui.widgets.run_columns import COLUMNS, CellContext
from linftui.tui.widgets.run_table import RunTable

Show = Callable[..., None]


def ids(person: Person) -> list[str]:
    """The runs in the order shown."""
    return [row.summary.id for row in person.app.screen_stack[1].query_one(RunTable).rows]


def copy(runs: Path, *names: str) -> None:
    """More runs like the first, each newer than the one before."""
    for number, name in enumerate(names, start=1):
        shutil.copytree(runs / "tiny-run", runs / name)
        meta = json.loads((runs / name / "meta.json").read_text())
        meta["created"] += number
        (runs / name / "meta.json").write_text(json.dumps(meta))


def test_a_run_is_listed_with_its_figures_and_opened(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.sees("1 finished", "✓ finished", "tiny-run", "3/3", "∞")
        figures = person.app.rows[0].summary
        assert f"{figures.certified_accuracy:.4f}".removeprefix("0") in person.line("✓ finished")
        await person.press("enter")
        await person.until(lambda: isinstance(person.app.screen, RunScreen))
        await person.sees("certified accuracy · test · eps 0.1")
        await person.press("escape")
        assert isinstance(person.app.screen, RunsScreen)

    show(runs, script)


def test_an_empty_folder_says_how_to_begin(tmp_path: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.sees("No runs here yet", "Press R to train a recipe")

    show(tmp_path / "nothing", script)


@pytest.mark.parametrize("size", [(80, 24), (160, 45), (300, 80), (40, 10), (1, 1)])
def test_every_size_shows_what_fits(runs: Path, show: Show, size: tuple[int, int]) -> None:
    async def script(person: Person) -> None:
        await person.until(lambda: person.app.rows)
        for key in (
            "enter",
            "1",
            "z",
            "escape",
            "escape",
            "escape",
            "question_mark",
            "escape",
            "R",
            "escape",
        ):
            await person.press(key)
        assert isinstance(person.app.screen, RunsScreen)
        if size >= (80, 24):
            assert "tiny-run" in person.screen() and "certified" in person.screen()

    show(runs, script, size=size)


def test_filtering_as_one_types(runs: Path, show: Show) -> None:
    copy(runs, "cifar-1", "cifar-2")

    async def script(person: Person) -> None:
        await person.until(lambda: len(ids(person)) == 3)
        await person.press("slash")
        await person.type("cifar")
        assert ids(person) == ["cifar-2", "cifar-1"]
        await person.type(" !2")
        assert ids(person) == ["cifar-1"]
        await person.type(" z")
        await person.sees("certified", "No run matches the filter; esc clears it.")  # below the head
        await person.press("backspace")
        await person.until(lambda: "No run matches" not in person.screen())
        await person.press("escape")
        assert len(ids(person)) == 3
        await person.press("slash")
        await person.type("!cifar")
        await person.press("enter", "enter")  # back to the table, then into the run
        assert isinstance(person.app.screen, RunScreen) and person.app.screen.paths.id == "tiny-run"

    show(runs, script)


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
def test_a_filter_is_taken_away_and_the_dashboard_stays(runs: Path, show: Show, key: str) -> None:
    async def script(person: Person) -> None:
        await person.sees("tiny-run")
        await person.press("slash", *"nothing")
        await person.sees("No run matches the filter")
        await person.press(key)
        await person.sees("tiny-run")
        assert not person.app.screen.query_one("#filter", Input).display

    show(runs, script)


def test_what_is_typed_right_after_the_filters_key_is_no_command(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")

    async def script(person: Person) -> None:
        await person.sees("● running")
        for key, letter in (("slash", "/"), ("S", "S"), ("slash", "/"), ("q", "q"), ("enter", "\r")):
            person.app.post_message(Key(key, letter))  # all of them before anything has come of the first
        await person.until(lambda: person.app.screen.query_one("#filter", Input).value == "S/q")
        await person.until(lambda: person.app.screen.focused is person.app.screen.query_one(RunTable))
        assert isinstance(person.app.screen, RunsScreen) and not paths.stop_request(2).exists()

    show(runs, script)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
def test_the_scrollbar_hides_nothing(runs: Path, show: Show, size: tuple[int, int]) -> None:
    copy(runs, *(f"r{number:02d}" for number in range(60)))

    async def script(person: Person) -> None:
        await person.until(lambda: len(ids(person)) == 61 and person.app.complete)
        table = person.app.screen.query_one(RunTable)
        await person.until(lambda: table.show_vertical_scrollbar)

        def columns_end_before_it() -> bool:
            bar = table.vertical_scrollbar.region.x
            head, *rows = (line[:bar].rstrip() for line in person.screen().splitlines()[1:20])
            return head.endswith("age↓") and all(re.search(r"[0-9][smhd]$", row) for row in rows)

        await person.until(columns_end_before_it)

    show(runs, script, size=size)


@pytest.mark.parametrize(
    ("done", "epochs", "shown"),
    [(3, 3, "3/3"), (None, None, "-/-"), (9999, 9999, "9999/9999"), (390, 100_000, "390/100k"),
     (12_345, 50_000, "12345/50k"), (1_234_567, 20_000_000, "1M/20M")],
)  # fmt: skip
def test_many_epochs_fit_their_column(runs: Path, done: int | None, epochs: int | None, shown: str) -> None:
    row = read_row(RunPaths(runs / "tiny-run"))
    row = replace(row, summary=replace(row.summary, epoch=done, epochs=epochs))
    column = next(column for column in COLUMNS if column.name == "epoch")
    assert column.cell(row, CellContext()) == shown and len(shown) <= column.width


def test_sentences_in_a_corner_do_not_pile_up(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.until(lambda: person.app.rows)
        await person.press("S", "S", "S")
        await person.sees("there is nothing to stop")
        assert person.screen().count("there is nothing to stop") == 1
        await person.press("U", "U", "S")
        await person.sees("there is nothing to stop", "there is nothing left to train")
        person.app.toast("something else")
        await person.sees("something else", "there is nothing to stop")
        await person.until(lambda: "nothing left to train" not in person.screen())
        assert len(person.app.screen.query(Toast)) == 2

    show(runs, script, size=(80, 24))


def test_sorting_by_one_column_after_another(runs: Path, show: Show) -> None:
    copy(runs, "b", "a")

    async def script(person: Person) -> None:
        await person.until(lambda: len(ids(person)) == 3)
        assert ids(person) == ["a", "b", "tiny-run"]  # the newest first
        table = person.app.screen.query_one(RunTable)
        while table.order[0] != "name":
            await person.press("o")
        assert ids(person) == ["a", "b", "tiny-run"] and "run↑" in person.screen()
        await person.press("O")
        assert ids(person) == ["tiny-run", "b", "a"] and "run↓" in person.screen()

    show(runs, script)


def test_the_cursor_keeps_to_its_run(runs: Path, show: Show) -> None:
    copy(runs, "b", "a")

    async def script(person: Person) -> None:
        await person.until(lambda: len(ids(person)) == 3)
        await person.press("down")
        table = person.app.screen.query_one(RunTable)
        assert table.current is not None and table.current.summary.id == "b"
        copy(runs, "c", "d", "e")
        await person.until(lambda: len(ids(person)) == 6)
        assert table.current.summary.id == "b"
        shutil.rmtree(runs / "b")
        await person.until(lambda: len(ids(person)) == 5)
        assert table.current is not None  # on another one

    show(runs, script)


def test_the_mouse_moves_the_cursor_and_opens(runs: Path, show: Show) -> None:
    copy(runs, "b", "a")

    async def script(person: Person) -> None:
        await person.until(lambda: len(ids(person)) == 3)
        table = person.app.screen.query_one(RunTable)
        await person.pilot.click(RunTable, offset=(5, 0))  # the head is no row
        assert table.current is not None and table.current.summary.id == "a"
        await person.pilot.click(RunTable, offset=(5, 2))
        assert table.current.summary.id == "b"
        await person.pilot.click(RunTable, offset=(5, 3), times=2)
        await person.until(lambda: isinstance(person.app.screen, RunScreen))
        assert person.app.screen.paths.id == "tiny-run"

    show(runs, script)


def test_while_runs_are_being_read_the_cursor_waits_on_top(runs: Path, show: Show) -> None:
    copy(runs, "b", "a")

    async def script(person: Person) -> None:
        await person.until(lambda: person.app.complete)
        a, b, first = sorted(person.app.rows, key=lambda row: row.summary.id)
        table = RunTable()
        table.show([first], CellContext(), reading=True)
        table.show([first, b], CellContext())  # these are all
        assert table.current is b
        table.show([first, b, a], CellContext())  # a new one, while one may be about to press a key
        assert table.current is b
        other = RunTable()
        other.show([first, b], CellContext(), reading=True)
        other.move_cursor(1)
        other.show([first, b, a], CellContext(), reading=True)
        assert other.current is first

    show(runs, script)


@pytest.fixture
def near_runs(runs: Path) -> Iterator[Path]:
    """`runs` in a folder with a short name, which breaks no sentence about its files over two lines."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.move(runs / "tiny-run", folder)
        yield Path(folder)


def test_a_damaged_run_is_listed_and_says_how(near_runs: Path, show: Show) -> None:
    (near_runs / "tiny-run" / "state.json").write_text("{")

    async def script(person: Person) -> None:
        await person.sees("! damaged", "cannot be read: Input data was")  # the panel beside the table
        await person.press("S")
        await person.sees("the run is damaged")
        await person.press("enter")
        await person.sees("state.json: cannot be read")

    show(near_runs, script, size=(160, 45))


def test_the_panel_tells_what_the_run_was_made_from(near_runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.sees("tiny-run", "0.1  trained at 0.3", "2 × 16  digits", "step 36", "finished 36 steps")
        (near_runs / "tiny-run" / "resolved.yaml").write_text("name: [red\n")
        shutil.copytree(near_runs / "tiny-run", near_runs / "other")
        await person.until(lambda: len(ids(person)) == 2)
        await person.press("end")
        await person.sees("other", "not valid YAML")

    show(near_runs, script, size=(160, 45))


def test_what_cannot_be_done_is_said(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.until(lambda: person.app.rows)
        await person.press("S")
        await person.sees("the run is finished: there is nothing to stop")
        await person.press("U")
        await person.sees("there is nothing left to train")
        assert isinstance(person.app.screen, RunsScreen)

    show(runs, script)


def test_a_run_that_never_began_cannot_be_stopped_and_says_so(runs: Path, show: Show) -> None:
    for record in ("state.json", "exit.json"):
        (runs / "tiny-run" / record).unlink()

    async def script(person: Person) -> None:
        await person.sees("○ pending")
        await person.press("S")
        await person.sees("no attempt of the run has begun yet: there is nothing to stop")
        assert isinstance(person.app.screen, RunsScreen)

    show(runs, script)


@pytest.mark.parametrize(
    "name", ["[red]x", "[bold", "\x1b[31mred", "a\nb", "\u202eright to left", "[@click=q]"]
)
def test_a_strangers_id_is_only_text(runs: Path, show: Show, name: str) -> None:
    (runs / "tiny-run").rename(runs / name)

    async def script(person: Person) -> None:
        await person.until(lambda: person.app.rows)
        readable = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
        await person.sees(readable)
        assert "\x1b" not in person.screen() and "\u202e" not in person.screen()
        await person.press("enter")
        await person.sees(readable, "eps 0.1")
        for key in ("l", "escape", "y", "escape", "C", "escape"):
            await person.press(key)

    show(runs, script, size=(160, 45))


def test_a_folder_far_down_does_not_hide_how_many_runs_it_holds(runs: Path, show: Show) -> None:
    deep = runs.joinpath(*["a-folder-with-a-long-name"] * 6, "runs-of-the-day")
    deep.parent.mkdir(parents=True)
    shutil.copytree(runs, deep, ignore=shutil.ignore_patterns("a-folder*"))

    async def script(person: Person) -> None:
        await person.sees("runs-of-the-day   1 finished")

    show(deep, script)


@pytest.mark.slow
def test_a_thousand_runs_are_listed_and_moved_through(runs: Path, show: Show) -> None:
    for number in range(999):
        (runs / f"many-{number:03d}").mkdir()
        for file in ("meta.json", "state.json", "exit.json", "metrics.jsonl"):
            (runs / f"many-{number:03d}" / file).hardlink_to(runs / "tiny-run" / file)

    async def script(person: Person) -> None:
        await person.until(lambda: person.app.complete)
        assert len(ids(person)) == 1000 and "1000 finished" in person.screen()
        await person.press("end")
        last = ids(person)[-1]
        assert last in person.screen() and ids(person)[0] not in person.screen()
        await person.press("pageup", "home")
        assert ids(person)[0] in person.screen()

    show(runs, script)


@pytest.mark.slow
def test_nothing_is_repainted_while_nothing_changes(
    runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dashboard, "now", staticmethod(lambda: 2e9))  # ages stand still
    copy(runs, "b", "a")

    async def script(person: Person) -> None:
        await person.until(lambda: person.app.complete and person.app.machine and person.app.facts)
        await person.pilot.pause(2.5)
        refreshed: list[str] = []
        original = Widget.refresh
        monkeypatch.setattr(
            Widget,
            "refresh",
            lambda self, *a, **k: (refreshed.append(type(self).__name__), original(self, *a, **k))[1],
        )
        await person.pilot.pause(2.5)
        assert set(refreshed) <= {"DeviceStrip"}  # the machine itself is never quite idle

    show(runs, script, size=(160, 45))


def test_only_the_row_that_changed_is_repainted(
    runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dashboard, "now", staticmethod(lambda: 2e9))
    copy(runs, "b", "a")

    async def script(person: Person) -> None:
        await person.until(lambda: person.app.complete)
        table = person.app.screen.query_one(RunTable)
        await person.pilot.pause(2.5)
        painted: list[int] = []
        original = RunTable.render_line
        monkeypatch.setattr(
            RunTable, "render_line", lambda self, y: (painted.append(y), original(self, y))[1]
        )
        (runs / "b" / "exit.json").unlink()
        await person.sees("✗ crashed")
        await person.pilot.pause(0.1)
        assert set(painted) == {1 + [row.summary.id for row in table.rows].index("b")}

    show(runs, script)


def test_quitting_leaves_the_dashboard(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.press("q")
        assert person.app.return_code == 0

    show(runs, script)


def test_every_command_is_in_the_help_and_in_the_palette(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.press("question_mark")
        await person.sees("Everywhere", "Open the run under the cursor.", "Quit; runs continue.")
        await person.press("escape", "colon")
        await person.sees("sort (o)", "quit (q)")
        await person.type("resum")
        await person.sees("resume (U)")

    show(runs, script, size=(120, 60))


def test_the_help_tells_the_keys_of_the_forms(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await person.press("question_mark")
        await person.sees("Training a recipe", "Certifying", "ctrl+s  Stop the certification of the run.")

    show(runs, script, size=(120, 80))
