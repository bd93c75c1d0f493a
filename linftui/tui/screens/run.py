"""The screen of one run: its head, its charts as they grow, and the latest events."""

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus, Resize

from linftui.rundir.paths import RunPaths
from linftui.text import clean
from linftui.tui import commands
from linftui.tui.bindings import Command, textual_bindings
from linftui.tui.chart.chart import Chart
from linftui.tui.host import Host
from linftui.tui.live.following import Following
from linftui.tui.live.run_follower import RunNews, Standing
from linftui.tui.live.run_list import RunRow
from linftui.tui.live.run_model import RunModel
from linftui.tui.screens.base import CommandScreen
from linftui.tui.screens.text import TextScreen
from linftui.tui.widgets.history_lines import history_lines
from linftui.tui.widgets.key_bar import KeyBar
from linftui.tui.widgets.log_pane import LogPane
from linftui.tui.widgets.run_charts import RunCharts
from linftui.tui.widgets.run_head import RunHead
from linftui.tui.widgets.top_line import TopLine

CATCH_UP_S = 0.3  # how often it is drawn while it catches up with a long run


class RunScreen(CommandScreen):
    """Everything worth watching in one run."""

    PLACE = "run"
    BINDINGS = textual_bindings("run")
    AUTO_FOCUS = ""  # a focused chart would take keys for itself

    def __init__(self, host: Host, paths: RunPaths) -> None:
        super().__init__(host)
        self.paths = paths
        self.model = RunModel(paths)
        self._log: TextScreen | None = None
        self._drawn = 0.0
        self._following: Following | None = None

    def compose(self) -> ComposeResult:
        """The parts, from top to bottom."""
        yield TopLine(self.host.store.root, id="top")
        yield RunHead(self.model, id="head")
        yield RunCharts(self.model, id="charts")
        yield LogPane(id="log")
        yield KeyBar(self.available, id="keys")

    def on_mount(self) -> None:
        """Follows the run."""
        self._following = self.host.follow(self.paths)
        self.set_interval(1.0, self._tick)

    def on_screen_resume(self) -> None:
        """Catches up with the news."""
        self.runs_changed()
        self._draw()

    def on_unmount(self) -> None:
        """Stops following the run."""
        if self._following is not None:
            self._following.close()

    def on_resize(self, event: Resize) -> None:
        """Hides what there is no room for, the least important first."""
        width, height = event.size
        self.set_class(height < 32, "low")
        self.set_class(height < 20, "lower")
        self.set_class(height < 14, "lowest")
        self.set_class(width < 70, "narrow")
        self.query_one(LogPane).styles.height = 3 if height < 32 else max(5, height // 6)

    @property
    def row(self) -> RunRow | None:
        """The run as the table shows it, once it has been read."""
        return self.model.standing.row if self.model.standing else None

    @property
    def standing(self) -> Standing | None:
        """Its standing, once it has been read."""
        return self.model.standing

    def run_grew(self, following: Following, news: RunNews) -> None:
        """Adds news and draws it; while catching up, only every CATCH_UP_S."""
        if following is not self._following:
            return
        if news.first:
            self._begin()
        self.model.add(news)
        now = self.host.now()
        if news.behind and now - self._drawn <= CATCH_UP_S:
            return
        self._drawn = now
        if self._log is not None:
            self._log.show(history_lines(self.model))
        if self.host.is_in_sight(self):
            self._draw()

    def _begin(self) -> None:
        """Starts again: the run is being read from its beginning, perhaps since another took its name."""
        self.model = RunModel(self.paths)
        self.query_one(RunHead).begin(self.model)
        self.query_one(RunCharts).begin(self.model)

    def _draw(self) -> None:
        self._draw_head()
        self.query_one(RunCharts).redraw()
        self.query_one(LogPane).show(history_lines(self.model, last=self.size.height))
        self.query_one(KeyBar).redraw()

    def runs_changed(self) -> None:
        """Updates the first line, which counts all runs."""
        app = self.host
        self.query_one(TopLine).show(app.rows, app.complete, app.status)

    def status_changed(self) -> None:
        """Shows the progress of background tasks."""
        app = self.host
        self.query_one(TopLine).show(app.rows, app.complete, app.status)
        self._draw_head()

    def _tick(self) -> None:
        if self.model.going_on and self.host.is_in_sight(self):
            self._draw_head()

    def _draw_head(self) -> None:
        app = self.host
        status = app.status if self.has_class("low") else ""  # otherwise the first line shows it
        self.query_one(RunHead).show(app.now(), app.gpus, status)

    @on(DescendantFocus)
    @on(DescendantBlur)
    def _focus_moved(self) -> None:
        if isinstance(self.focused, Chart) and not self.query_one(RunCharts).has_room(self.focused):
            self.set_focus(None)  # focus has moved from a chart just hidden to a hidden one
        self.query_one(KeyBar).redraw()

    def label(self, command: Command[Any]) -> str:
        """The label of stop depends on whether the run is stopping already."""
        return (commands.stop_label(self.row) if command.name == "stop" else "") or command.label

    def why_not(self, command: str) -> str:
        """Why a command on this run is refused."""
        standing = self.model.standing
        if standing is not None and standing.gone and command in ("stop", "resume", "certify"):
            return "the run's directory is no longer there"
        if command == "enlarge" and not isinstance(self.focused, Chart):
            return "no chart is in focus: tab or 1 to 5 chooses one"
        if command in ("stop", "resume", "certify") and standing is None:
            return "the run is still being read"
        if command == "recipe" and (standing is None or not standing.recipe_text):
            return "the run's recipe cannot be read"
        checkpoints = standing is None or bool(standing.checkpoints)
        return commands.why_not(command, self.row, checkpoints=checkpoints)

    def action_command(self, name: str, key: str = "") -> None:
        """Calls the handler of a key, except enter without a focused chart: a second press on opening."""
        if key != "enter" or isinstance(self.focused, Chart):
            super().action_command(name, key)

    def leave(self) -> None:
        """Goes from one chart to all of them, and from there to the list."""
        charts = self.query_one(RunCharts)
        if charts.enlarged:
            charts.enlarge(None)
        elif self.focused is not None:
            self.set_focus(None)
        else:
            self.dismiss()

    def focus_chart(self, number: int) -> None:
        """Focuses a chart."""
        self.query_one(RunCharts).focus_chart(number)

    def enlarge(self) -> None:
        """Shows only the focused chart, or all of them again."""
        charts = self.query_one(RunCharts)
        charts.enlarge(None if charts.enlarged or not isinstance(self.focused, Chart) else self.focused)

    def show_log(self) -> None:
        """Shows the history of the run in full screen, growing as the run goes on."""
        self._log = TextScreen(self.host, self.paths.id, "log", history_lines(self.model), follow=True)
        self.app.push_screen(self._log, self._log_closed)

    def _log_closed(self, _: None) -> None:
        self._log = None

    def show_recipe(self) -> None:
        """Shows the recipe with every value."""
        assert self.model.standing is not None
        lines = [Content(clean(line)) for line in self.model.standing.recipe_text.splitlines()]
        self.app.push_screen(TextScreen(self.host, self.paths.id, "recipe, with every value", lines))
