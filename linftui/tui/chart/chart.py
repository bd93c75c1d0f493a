"""The chart: the widget that draws curves, line by line, repainting only what has changed."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.color import Color
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from linftui.tui.bindings import Keyed, textual_bindings
from linftui.tui.chart.canvas import ASCII, BLOCK, BRAILLE, Canvas
from linftui.tui.chart.curve import ChartOptions, Curve
from linftui.tui.chart.plot import Inks, Plot, PlotInput, View, draw

MARKERS = {"braille": BRAILLE, "block": BLOCK, "ascii": ASCII}
MarkerName = Literal["braille", "block", "ascii"]
SMOOTHINGS = (0.0, 0.9, 0.99, 0.999)
ZOOM = 1.5
PAN = 0.2
FAINT = 0.6


class Chart(Keyed, Widget, can_focus=True):
    """Curves over x, with legend, axes, zoom, pan and crosshair.

    `heading`, `options` and `marker` may be set at any time; like samples appended to a curve's series, they
    take effect at the next `redraw`. The option `log_y` only sets how the chart starts.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"chart--{part}"
        for part in ("frame", "focus", "title", "name", "value", "note", "label", "rule", "crosshair", "mark",
                     "warning")
    }  # fmt: skip

    DEFAULT_CSS = """
    Chart {
        width: 1fr;
        height: 1fr;
        .chart--frame { color: $foreground 30%; }
        .chart--focus { color: $primary; }
        .chart--title { color: $foreground; text-style: bold; }
        .chart--name { color: $foreground 80%; }
        .chart--value { color: $foreground; text-style: bold; }
        .chart--note { color: $foreground 60%; text-style: italic; }
        .chart--label { color: $foreground 60%; }
        .chart--rule { color: $foreground 25%; }
        .chart--crosshair { color: $foreground 50%; }
        .chart--mark { color: $foreground 80%; }
        .chart--warning { color: $warning; }
    }
    """

    PLACE = "chart"
    BINDINGS = textual_bindings("chart")

    class CrosshairMoved(Message):
        """The user moved the crosshair of `chart` to `x`, or removed it (None)."""

        def __init__(self, chart: "Chart", x: float | None) -> None:
            super().__init__()
            self.chart, self.x = chart, x

        @property
        def control(self) -> "Chart":
            """The chart, so that handlers can select by it."""
            return self.chart

    def __init__(
        self,
        heading: str = "",
        curves: Sequence[Curve] = (),
        options: ChartOptions | None = None,
        *,
        marker: MarkerName = "braille",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.heading = heading
        self.marker: MarkerName = marker
        self.options = options or ChartOptions()
        self._curves = tuple(curves)
        self._view = View(log_y=self.options.log_y)
        self._inks = Inks()
        self._styles_of_inks: dict[int, Style] = {}
        self._plot: Plot | None = None
        self._strips: list[Strip] = []
        self._dragged_from: tuple[int, int] | None = None

    # What is shown.

    @property
    def curves(self) -> tuple[Curve, ...]:
        """The curves; the first is the first in the legend, and is drawn on top of the others."""
        return self._curves

    def set_curves(self, curves: Sequence[Curve]) -> None:
        """Shows other curves."""
        self._curves = tuple(curves)
        self.redraw()

    @property
    def crosshair(self) -> float | None:
        """The x whose values the legend shows; None: the newest."""
        return self._view.crosshair

    @crosshair.setter
    def crosshair(self, x: float | None) -> None:
        if x != self._view.crosshair:
            self._view.crosshair = x
            self.redraw()

    @property
    def log_y(self) -> bool:
        """Whether the y axis is logarithmic."""
        return self._view.log_y

    @property
    def smoothing(self) -> float:
        """The weight of the past in the curves' moving averages; 0: no smoothing."""
        return self._view.smoothing

    @property
    def x_shown(self) -> tuple[float, float] | None:
        """The range of x that is shown now; None without data."""
        return None if self._plot is None or self._plot.x is None else (self._plot.x.low, self._plot.x.high)

    @property
    def y_shown(self) -> tuple[float, float] | None:
        """The range of y that is shown now; None without data."""
        return None if self._plot is None or self._plot.x is None else (self._plot.y.low, self._plot.y.high)

    def redraw(self) -> None:
        """Draws the curves as they are now, and repaints the cells that differ."""
        if not self.is_attached or not self.size:
            return
        before = self._plot
        self._plot = self._draw()
        canvas = self._plot.canvas
        if before is None or before.canvas.size != canvas.size or not self._strips:
            self._strips = self._rows(canvas, range(canvas.height))
            self.refresh()
            return
        changes = canvas.changes(before.canvas)
        rows = [row for row, _, _ in changes]
        for row, strip in zip(rows, self._rows(canvas, rows), strict=True):
            self._strips[row] = strip
        if changes:
            self.refresh(*(Region(first, row, stop - first, 1) for row, first, stop in changes))

    # Zoom and pan.

    def zoom(self, factor: float, around: float | None = None) -> None:
        """Makes x `factor` times finer (coarser below 1) around an x; None: the crosshair, or the middle."""
        if self._plot is not None and self._plot.x is not None:
            x = self._plot.x
            at = self.crosshair if around is None else around
            share = 0.5 if at is None or not x.low <= at <= x.high else x.place(at)
            self._view.x = x.zoomed(factor, share)
            self.redraw()

    def zoom_y(self, factor: float, around: float = 0.5) -> None:
        """Makes y `factor` times finer around a share of the axis."""
        if self._plot is not None:
            self._view.y = self._plot.y.zoomed(factor, around)
            self.redraw()

    def pan(self, share: float) -> None:
        """Moves the view by a share of its width; positive is to the right."""
        if self._plot is not None and self._plot.x is not None:
            self._view.x = self._plot.x.panned(share)
            self.redraw()

    def pan_y(self, share: float) -> None:
        """Moves the view by a share of its height; positive is up."""
        if self._plot is not None:
            self._view.y = self._plot.y.panned(share)
            self.redraw()

    def reset(self) -> None:
        """Follows the data again on both axes."""
        self._view.x = self._view.y = None
        self.redraw()

    def toggle_log_y(self) -> None:
        """Makes the y axis logarithmic, or linear again."""
        self._view.log_y, self._view.y = not self._view.log_y, None
        self.redraw()

    def cycle_smoothing(self) -> None:
        """Smooths more, or after the most not at all."""
        self._view.smoothing = SMOOTHINGS[(SMOOTHINGS.index(self._view.smoothing) + 1) % len(SMOOTHINGS)]
        self.redraw()

    # Keys.

    def zoom_step(self, direction: int) -> None:
        """Zooms x in (1) or out (-1)."""
        self.zoom(ZOOM**direction)

    def zoom_y_step(self, direction: int) -> None:
        """Zooms y in (1) or out (-1)."""
        self.zoom_y(ZOOM**direction)

    def pan_step(self, direction: int) -> None:
        """Pans to the right (1) or left (-1)."""
        self.pan(PAN * direction)

    def pan_y_step(self, direction: int) -> None:
        """Pans up (1) or down (-1)."""
        self.pan_y(PAN * direction)

    def start_over(self) -> None:
        """Resets the view, and removes the crosshair."""
        self.reset()
        self._put_crosshair(None)

    def move_crosshair(self, cells: int) -> None:
        """Moves the crosshair, which enters at the right end, by this many cells."""
        if self._plot is None or self._plot.x is None:
            return
        x, width = self._plot.x, self._plot.area.width
        share = 1.0 if self.crosshair is None else x.place(self.crosshair)
        cell = min(max(int(share * width) + cells, 0), width - 1)
        self._put_crosshair(x.value((cell + 0.5) / width))

    # Mouse.

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Moves the crosshair with the pointer, and with the button down the picture too."""
        if self._plot is None or self._plot.x is None:
            return
        if self._dragged_from is not None:
            column, row = self._dragged_from
            self._dragged_from = event.x, event.y
            self.pan((column - event.x) / self._plot.area.width)
            if event.y != row:
                self.pan_y((event.y - row) / self._plot.area.height)
        share = self._share_at(event.x)
        if share is not None:
            self._put_crosshair(self._plot.x.value(share))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Starts dragging the picture."""
        self._dragged_from = event.x, event.y
        self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Stops dragging."""
        self._dragged_from = None
        self.release_mouse()

    def on_leave(self, event: events.Leave) -> None:
        """Removes the crosshair as the pointer leaves."""
        self._put_crosshair(None)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zooms in around the pointer; on y with shift or ctrl."""
        self._wheel(event, ZOOM)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zooms out around the pointer; on y with shift or ctrl."""
        self._wheel(event, 1 / ZOOM)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        if self._plot is None or self._plot.x is None:
            return
        event.stop()
        if event.shift or event.ctrl:
            self.zoom_y(factor)
        else:
            share = self._share_at(event.x)
            self.zoom(factor, None if share is None else self._plot.x.value(share))

    def _share_at(self, column: int) -> float | None:
        """The share of the x axis at a column of the widget; None outside the axis."""
        area = self._plot.area if self._plot is not None else None
        if area is None or not area.column <= column < area.column + area.width:
            return None
        return (column - area.column + 0.5) / area.width

    def _put_crosshair(self, x: float | None) -> None:
        if x != self.crosshair:
            self.crosshair = x
            self.post_message(self.CrosshairMoved(self, x))

    # Drawing.

    def render_line(self, y: int) -> Strip:
        """One line, as last drawn."""
        if self._plot is None or self._plot.canvas.size != self.size[::-1]:
            self._plot = self._draw()
            self._strips = []
        if not self._strips:
            self._strips = self._rows(self._plot.canvas, range(self.size.height))
        return self._strips[y]

    def on_resize(self) -> None:
        """Draws in the new size."""
        self.redraw()

    def watch_has_focus(self, focused: bool) -> None:
        """Shows the focus in the frame's colour."""
        super().watch_has_focus(focused)
        self.redraw()

    def notify_style_update(self) -> None:
        """Repaints the same cells in the colours of a new theme."""
        super().notify_style_update()
        self._styles_of_inks.clear()
        self._strips = []

    def _draw(self) -> Plot:
        self._view.focused = self.has_focus
        self._view.colorless = self.app.no_color
        given = PlotInput(self.heading, self._curves, self.options, self._view)
        expected = self._plot.area.width if self._plot is not None else 0
        size = self.size.height, self.size.width
        return draw(given, size, MARKERS[self.marker], self._inks, expected or max(size[1] - 8, 1))

    def _rows(self, canvas: Canvas, rows: Sequence[int]) -> list[Strip]:
        return [
            Strip([Segment(text, self._style(ink)) for text, ink in runs], canvas.width)
            for runs in canvas.runs(rows)
        ]

    def _style(self, ink: int) -> Style:
        if ink not in self._styles_of_inks:
            self._styles_of_inks = {
                0: Style(bgcolor=self._ground()),
                **{n: self._named(name) for name, n in self._inks.items()},
            }
        return self._styles_of_inks[ink]

    def _named(self, name: str) -> Style:
        if not name.startswith("#"):
            return self.get_component_rich_style(f"chart--{name}")
        color = Color.parse(name.removesuffix("~"))
        if name.endswith("~"):
            color = color.blend(self.background_colors[1], FAINT)
        return Style(color=RichColor.from_rgb(*color.rgb), bgcolor=self._ground())

    def _ground(self) -> RichColor:
        """The background behind a curve; without it, the terminal's own background would show."""
        return RichColor.from_rgb(*self.background_colors[1].rgb)
