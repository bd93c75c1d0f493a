"""The home screen: all runs of a folder, and the machine they run on."""

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

WIDE = 120  # columns from which there is room for the side panel


class NoRunsYet(LinesWidget):
    """What is shown while there is no run."""

    def make_lines(self, width: int, height: int) -> list[Content]:
        """How to start the first run."""
        return [
            Content.styled("No runs here yet.", "bold $bright"),
            Content.empty(),
            Content.assemble("Press ", ("R", "bold $accent"), " to train a recipe."),
            *wrapped("`digits` needs no download and takes about a minute.", width, "$muted"),
            Content.empty(),
            *wrapped(
                "Runs are kept in the folder named above; --runs-dir opens another one.", width, "$muted"
            ),
        ]


class FilterField(Keyed, Input):
    """The filter field. It acts by messages, so that they arrive after the text typed before them."""

    PLACE = "filter"
    BINDINGS = textual_bindings("filter")

    class GivenUp(Message):
        """The filter is to be cleared."""

    class Pointed(Message):
        """The table's cursor is to move by this many rows."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def accept(self) -> None:
        """Goes back to the table."""
        self.post_message(self.Submitted(self, self.value))

    def give_up(self) -> None:
        """Clears the filter."""
        self.post_message(self.GivenUp())

    def point(self, by: int) -> None:
        """Moves the table's cursor by this many rows."""
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
        """Hides the filter and focuses the table."""
        field = self.query_one(FilterField)
        field.cursor_blink = field.display = False
        self.table.focus()

    def on_screen_resume(self) -> None:
        """Catches up with the news."""
        self.runs_changed()
        self.facts_changed()

    @property
    def table(self) -> RunTable:
        """The table of runs."""
        return self.query_one(RunTable)

    def on_resize(self, event: Resize) -> None:
        """Shows the side panel if there is room for it."""
        self.query_one(SidePanel).display = event.size.width >= WIDE

    def runs_changed(self) -> None:
        """Shows the current runs."""
        app = self.host
        self.table.display = bool(app.rows) or not app.complete
        self.query_one(NoRunsYet).display = not self.table.display
        self.status_changed()
        self.machine_changed()

    def status_changed(self) -> None:
        """Shows the progress of background tasks."""
        app = self.host
        self.query_one(TopLine).show(app.rows, app.complete, app.status)

    def facts_changed(self) -> None:
        """Shows the facts about the run under the cursor."""
        self.query_one(SidePanel).show(self.row, self.host.facts, self.host.now())

    def machine_changed(self) -> None:
        """Shows the devices and the runs that hold them, and the GPU numbers of each run."""
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
        """None: no run is followed here."""
        return None

    def label(self, command: Command[Any]) -> str:
        """The label of stop depends on whether the run is stopping already."""
        return (commands.stop_label(self.row) if command.name == "stop" else "") or command.label

    def why_not(self, command: str) -> str:
        """Why a command on the run under the cursor is refused."""
        return commands.why_not(command, self.row)

    def begin_filter(self) -> None:
        """Opens the filter field."""
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
    """The ids of active runs by the UUIDs of the GPUs they hold."""
    return {uuid: row.summary.id for row in rows if row.active for uuid in row.devices if uuid != "cpu"}
