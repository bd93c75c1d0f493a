"""The home of the dashboard: all runs of a folder, and the machine they run on."""

from collections.abc import Iterable

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Key, Resize
from textual.widgets import Input

from linftui.tui import commands
from linftui.tui.bindings import Command, textual_bindings
from linftui.tui.live.run_list import RunRow
from linftui.tui.screens.base import CommandScreen
from linftui.tui.widgets.device_strip import DeviceStrip
from linftui.tui.widgets.key_bar import KeyBar
from linftui.tui.widgets.lines import Lines, wrapped
from linftui.tui.widgets.run_columns import Machine
from linftui.tui.widgets.run_table import RunTable
from linftui.tui.widgets.side_panel import SidePanel
from linftui.tui.widgets.top_line import TopLine

WIDE = 120  # from so many columns on there is room for the side panel


class Beginning(Lines):
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


class RunsScreen(CommandScreen):
    """The table of runs with its filter, the facts beside it, the machine below."""

    NAME = "runs"
    BINDINGS = textual_bindings("runs")

    def compose(self) -> ComposeResult:
        """The parts, from top to bottom."""
        yield TopLine(self.host.store.root, id="top")
        with Horizontal(id="middle"):
            with Vertical(id="left"):
                yield RunTable(id="table")
                yield Beginning(id="beginning")
            yield SidePanel(id="side")
        yield Input(
            placeholder="part of an id, a recipe or a state; !text for all others", id="filter", compact=True
        )
        yield DeviceStrip(id="machine")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Starts with what is known already."""
        self.query_one("#filter", Input).cursor_blink = False
        self.query_one("#filter").display = False
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
        self.query_one(Beginning).display = not self.table.display
        self.status_changed()
        self.machine_changed()

    def status_changed(self) -> None:
        """Says what is being done in the background."""
        app = self.host
        self.query_one(TopLine).show(app.rows, app.complete, app.status)

    def facts_changed(self) -> None:
        """Shows what is known of the run under the cursor."""
        self.query_one(SidePanel).show(self.table.current, self.host.facts)

    def machine_changed(self) -> None:
        """Shows the devices and who holds them, and runs by the numbers of their GPUs."""
        app = self.host
        self.table.show(app.rows, Machine(app.now(), app.gpus), reading=not app.complete)
        self.query_one(DeviceStrip).show(app.machine, holders(app.rows))

    @on(RunTable.Moved)
    def _cursor_moved(self) -> None:
        row = self.table.current
        self.host.select(row.paths if row else None)
        self.facts_changed()
        self.query_one(KeyBar).redraw()

    @on(RunTable.Opened)
    def _row_opened(self) -> None:
        self.do_open()

    def label(self, command: Command) -> str:
        """A second stop is another matter than the first."""
        return (commands.stop_label(self.table.current) if command.name == "stop" else "") or command.label

    def why_not(self, command: str) -> str:
        """Most keys act on the run under the cursor."""
        return commands.why_not(command, self.table.current)

    def do_open(self) -> None:
        """Shows the run under the cursor."""
        if row := self.table.current:
            self.host.open_run(row.paths)

    def do_filter(self) -> None:
        """Asks for the text to filter by."""
        field = self.query_one("#filter", Input)
        field.display = True
        self.set_focus(field)  # at once: the next key is meant for it

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self.table.filter(event.value)

    @on(Input.Submitted, "#filter")
    def _filter_done(self, event: Input.Submitted) -> None:
        event.input.display = bool(event.value.strip())
        self.set_focus(self.table)

    def on_key(self, event: Key) -> None:
        """Escape and ctrl+c take the filter away; arrows move the cursor while one types."""
        field = self.query_one("#filter", Input)
        if field.display and (event.key == "escape" or (event.key == "ctrl+c" and self.focused is field)):
            event.stop()
            field.value, field.display = "", False
            self.set_focus(self.table)
        elif event.key in ("up", "down") and self.focused is field:
            event.stop()
            self.table.action_move(-1 if event.key == "up" else 1)

    def do_sort(self) -> None:
        """Sorts by the next column."""
        self.table.sort_by_next()

    def do_reverse(self) -> None:
        """Sorts the other way round."""
        self.table.reverse_order()

    def do_run(self) -> None:
        """Asks which recipe to train."""
        self.host.open_launch()

    def do_stop(self) -> None:
        """Asks whether to stop the run."""
        commands.ask_stop(self.host, self.table.current)

    def do_resume(self) -> None:
        """Asks whether to go on with the run."""
        commands.ask_resume(self.host, self.table.current)

    def do_certify(self) -> None:
        """Asks what to certify."""
        commands.ask_certify(self.host, self.table.current, None)


def holders(rows: Iterable[RunRow]) -> dict[str, str]:
    """Which run holds which GPU, by the GPU's UUID, of the runs that are going on."""
    return {uuid: row.summary.id for row in rows if row.active for uuid in row.devices if uuid != "cpu"}
