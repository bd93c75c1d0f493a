"""The home of the dashboard: all runs of a folder, and the machine they run on."""

from collections.abc import Iterable
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.widgets import Input

from linftui.tui import commands
from linftui.tui.bindings import Command, Keyed, textual_bindings
from linftui.tui.live.run_follower import Standing
from linftui.tui.live.run_list import RunRow
from linftui.tui.screens.base import CommandScreen
from linftui.tui.widgets.device_strip import DeviceStrip
from linftui.tui.widgets.key_bar import KeyBar
from linftui.tui.widgets.lines import LinesWidget, wrapped
from linftui.tui.widgets.run_columns import CellContext
from linftui.tui.widgets.run_table import RunTable
from linftui.tui.widgets.side_panel import SidePanel
from linftui.tui.widgets.top_line import TopLine

WIDE = 120  # from so many columns on there is room for the side panel


class NoRunsYet(LinesWidget):
    """What to read where there is no run yet."""

    def make_lines(self, width: int, height: int) -> list[Content]:
        """How to begin."""
        return [
            Content.styled("No runs here yet.", "bold $bright"),
            Content.empty(),
            Content.assemble("Press ", ("R", "bold $accent"), " to train a recipe."),
            *wrapped("`digits` needs no download and takes about a minute.", width, "$muted"),
            Content.empty(),
            *wrapped(
                "Runs are kept in the folder named above; --runs-dir shows another one.", width, "$muted"
            ),
        ]


class FilterField(Keyed, Input):
    """The field with the filter. What it says comes after what was typed, so it is said by messages."""

    PLACE = "filter"
    BINDINGS = textual_bindings("filter")

    class GivenUp(Message):
        """The filter is to be taken away."""

    class Pointed(Message):
        """The cursor of the table is to move by so many rows."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def accept(self) -> None:
        """Goes back to the table."""
        self.post_message(self.Submitted(self, self.value))

    def give_up(self) -> None:
        """Has the filter taken away."""
        self.post_message(self.GivenUp())

    def point(self, by: int) -> None:
        """Has the cursor of the table moved by so many rows."""
        self.post_message(self.Pointed(by))


class RunsScreen(CommandScreen):
    """The table of runs with its filter, the facts beside it, the machine below."""

    PLACE = "runs"
    BINDINGS = textual_bindings("runs")

    def compose(self) -> ComposeResult:
        """The parts, from top to bottom."""
        yield TopLine(self.host.store.root, id="top")
        with Horizontal(id="middle"):
            with Vertical(id="left"):
                yield RunTable(id="table")
                yield NoRunsYet(id="beginning")
            yield SidePanel(id="side")
        yield FilterField(
            placeholder="part of an id, a recipe or a state; !text for all others", id="filter", compact=True
        )
        yield DeviceStrip(id="machine")
        yield KeyBar(self.available, id="keys")

    def on_mount(self) -> None:
        """Starts with what is known already."""
        field = self.query_one(FilterField)
        field.cursor_blink = field.display = False
        self.table.focus()

    def on_screen_resume(self) -> None:
        """Shows what became known meanwhile."""
        self.runs_changed()
        self.facts_changed()

    @property
    def table(self) -> RunTable:
        """The table of runs."""
        return self.query_one(RunTable)

    def on_resize(self, event: Resize) -> None:
        """The side panel is there where there is room for it."""
        self.query_one(SidePanel).display = event.size.width >= WIDE

    def runs_changed(self) -> None:
        """Shows the runs as they are now."""
        app = self.host
        self.table.display = bool(app.rows) or not app.complete
        self.query_one(NoRunsYet).display = not self.table.display
        self.status_changed()
        self.machine_changed()

    def status_changed(self) -> None:
        """Says what is being done in the background."""
        app = self.host
        self.query_one(TopLine).show(app.rows, app.complete, app.status)

    def facts_changed(self) -> None:
        """Shows what is known of the run under the cursor."""
        self.query_one(SidePanel).show(self.row, self.host.facts)

    def machine_changed(self) -> None:
        """Shows the devices and who holds them, and runs by the numbers of their GPUs."""
        app = self.host
        self.table.show(app.rows, CellContext(app.now(), app.gpus), reading=not app.complete)
        self.query_one(DeviceStrip).show(app.machine, holders(app.rows))

    @on(RunTable.Moved)
    def _cursor_moved(self) -> None:
        row = self.row
        self.host.select(row.paths if row else None)
        self.facts_changed()
        self.query_one(KeyBar).redraw()

    @on(RunTable.Opened)
    def open_current(self) -> None:
        """Shows the run under the cursor."""
        if row := self.row:
            self.host.open_run(row.paths)

    @property
    def row(self) -> RunRow | None:
        """The run under the cursor, which most keys act on."""
        return self.table.current

    @property
    def standing(self) -> Standing | None:
        """Not known: no run is followed here."""
        return None

    def label(self, command: Command[Any]) -> str:
        """A second stop is another matter than the first."""
        return (commands.stop_label(self.row) if command.name == "stop" else "") or command.label

    def why_not(self, command: str) -> str:
        """Most keys act on the run under the cursor."""
        return commands.why_not(command, self.row)

    def begin_filter(self) -> None:
        """Asks for the text to filter by."""
        field = self.query_one(FilterField)
        field.display = True
        self.set_focus(field)  # at once: the next key is meant for it

    @on(FilterField.GivenUp)
    @on(RunTable.FilterDropped)
    def _end_filter(self) -> None:
        field = self.query_one(FilterField)
        if field.display:
            field.value, field.display = "", False
            self.set_focus(self.table)

    @on(FilterField.Pointed)
    def _pointed(self, event: FilterField.Pointed) -> None:
        self.table.move_cursor(event.by)

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self.table.filter(event.value)

    @on(Input.Submitted, "#filter")
    def _filter_done(self, event: Input.Submitted) -> None:
        event.input.display = bool(event.value.strip())
        self.set_focus(self.table)

    def sort_by_next(self) -> None:
        """Sorts by the next column."""
        self.table.sort_by_next()

    def reverse_order(self) -> None:
        """Sorts the other way round."""
        self.table.reverse_order()


def holders(rows: Iterable[RunRow]) -> dict[str, str]:
    """Which run holds which GPU, by the GPU's UUID, of the runs that are going on."""
    return {uuid: row.summary.id for row in rows if row.active for uuid in row.devices if uuid != "cpu"}
