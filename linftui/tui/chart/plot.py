"""Draws a chart on a canvas: frame, legend, axes, curves. Independent of terminals and events."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from linftui.tui.chart.axis import Floats, Scale, compact, labels, scale_for, ticks, without_outliers
from linftui.tui.chart.canvas import ASCII, Area, Canvas, LineStyle, Marker, plain, plain_ascii
from linftui.tui.chart.curve import ChartOptions, Curve
from linftui.tui.chart.legend import GAP, Legend, lay_out, shortened
from linftui.tui.chart.series import DotColumns, Series
from linftui.tui.chart.trace import FAR, trace

NO_DATA, NO_DATA_YET = "no data", "no data yet"
NOTHING_HERE = "nothing here, 0 resets the view"
NOTHING_DRAWN = "nothing to draw"
LINE_STYLES: tuple[LineStyle, ...] = ("solid", "dashed", "dash-dotted", "dotted")


class Inks(dict[str, int]):
    """Ink numbers by name: a part of the chart, or a colour (followed by `~`: faint)."""

    def __missing__(self, name: str) -> int:
        self[name] = len(self) + 1  # 0 is the ink of empty cells
        return self[name]


@dataclass(frozen=True)
class Signs:
    """The glyphs of frame, rules and marks."""

    corners: str = "┌┐└┘"
    horizontal: str = "─"
    vertical: str = "│"
    rail: str = "┄"
    upright: str = "┊"
    mark: str = "▴"
    above: str = "▲"
    below: str = "▼"
    lines: dict[LineStyle, str] = field(
        default_factory=lambda: {"solid": "━", "dashed": "╍", "dotted": "┅", "dash-dotted": "┉"}
    )


UNICODE_SIGNS = Signs()
ASCII_SIGNS = Signs(
    corners="++++",
    horizontal="-",
    vertical="|",
    rail=".",
    upright=":",
    mark="^",
    above="^",
    below="v",
    lines={"solid": "-", "dashed": "=", "dotted": ".", "dash-dotted": "~"},
)


@dataclass
class View:
    """How the user has set up a chart, in addition to its options; None follows the options."""

    x: Scale | None = None
    y: Scale | None = None
    log_y: bool = False
    smoothing: float = 0.0
    crosshair: float | None = None
    focused: bool = False
    colorless: bool = False  # curves differ in their line styles alone


@dataclass(frozen=True)
class Plot:
    """A drawn chart, and the x and y that its area of the canvas shows; `x` is None without data."""

    canvas: Canvas
    area: Area
    x: Scale | None
    y: Scale


@dataclass(frozen=True)
class PlotInput:
    """What to draw; the first curve is the first in the legend, and is drawn on top."""

    title: str
    curves: Sequence[Curve]
    options: ChartOptions
    view: View


def draw(given: PlotInput, size: tuple[int, int], marker: Marker, inks: Inks, expected_width: int) -> Plot:
    """Draws a chart into `size` (rows, columns) cells.

    `expected_width` is a guess at the width of its area; a correct one saves half of the reading.
    """
    return _Painter(given, Canvas(*size, marker), inks, expected_width).paint()


class _Painter:
    """Draws one chart, once."""

    def __init__(self, given: PlotInput, canvas: Canvas, inks: Inks, expected_width: int) -> None:
        self.title, self.options, self.view = given.title, given.options, given.view
        self.canvas, self.inks, self.expected_width = canvas, inks, expected_width
        self._read: dict[tuple[int, int], DotColumns] = {}
        self.signs = ASCII_SIGNS if canvas.marker is ASCII else UNICODE_SIGNS
        self.curves = [self._plain_curve(k, curve) for k, curve in enumerate(given.curves)]
        self.rail = int(
            any(curve.series.has_infinity for curve in given.curves)
        )  # rows of the rail of infinity, 0 or 1

    def _plain_curve(self, number: int, curve: Curve) -> Curve:
        """The curve with texts and a line style that this terminal can show."""
        broken = self.view.colorless and curve.line == "solid"
        return replace(
            curve,
            name=self._say(curve.name),
            note=self._say(curve.note),
            short_note=self._say(curve.short_note),
            line=LINE_STYLES[number % len(LINE_STYLES)] if broken else curve.line,
        )

    def _say(self, text: str) -> str:
        """Text from any source, with one cell for each character."""
        return plain_ascii(text) if self.canvas.marker is ASCII else plain(text)

    def paint(self) -> Plot:
        """Draws everything, layer by layer; without room for a frame, only the title."""
        canvas = self.canvas
        if canvas.height < 3 or canvas.width < 6:
            canvas.text(0, 0, self._say(self.title), self.inks["title"])
            return Plot(canvas, Area(0, 0, 0, 0), None, scale_for([]))
        x = _x_scale([curve.series for curve in self.curves], self.options, self.view)
        y, clipped = self._y_scale(x)
        self._frame()
        first_row, named = self._heading(clipped)
        bottom = canvas.height - 1
        with_marks = bool(self.options.marks) and bottom - first_row > 6
        inside = Area(first_row, 1, bottom - first_row - with_marks, canvas.width - 2)
        if x is None or inside.height <= self.rail:
            nothing = NO_DATA_YET if self.options.growing else NO_DATA
            self._message(nothing if x is None else "", inside)
            return Plot(canvas, Area(0, 0, 0, 0), None, y)
        area = self._y_axis(y, inside)
        for curve in reversed(self.curves):
            if curve in named or not curve.note:
                self._curve(curve, x, y, area)
        if canvas.is_empty(area):
            self._message(NOTHING_HERE if self.view.x or self.view.y else NOTHING_DRAWN, area)
        self._verticals(x, area)
        self._marks(x, area, bottom - 1 if with_marks else bottom)
        self._x_axis(x, area)
        return Plot(canvas, area, x, y)

    # Frame, title and legend.

    def _frame(self) -> None:
        canvas, signs = self.canvas, self.signs
        ink = self.inks["focus" if self.view.focused else "frame"]
        across = signs.horizontal * (canvas.width - 2)
        canvas.text(0, 0, signs.corners[0] + across + signs.corners[1], ink)
        canvas.text(canvas.height - 1, 0, signs.corners[2] + across + signs.corners[3], ink)
        for column in (0, canvas.width - 1):
            canvas.behind(Area(1, column, canvas.height - 2, 1), signs.vertical, ink)

    def _heading(self, clipped: str) -> tuple[int, list[Curve]]:
        """Draws title and legend; returns the first row below them, and the curves that the legend names."""
        canvas, inks = self.canvas, self.inks
        tags = [(f" {clipped}", "warning")] if clipped else []
        if self.view.smoothing:
            tags.append((f" ~{f'{self.view.smoothing:g}'[1:]}", "label"))
        room = canvas.width - 4 - sum(len(text) for text, _ in tags)
        column = canvas.text(0, 1, f" {shortened(self._say(self.title), room)}", inks["title"])
        for text, ink in tags:
            column = canvas.text(0, column, text, inks[ink])
        column = canvas.text(0, column, " ", inks["title"])
        rows = max((canvas.height - 2) // 3, 1) if canvas.height > 4 else 0
        values = [(curve, self._value(curve)) for curve in self.curves]
        # Leaves a space on both sides, and some of the frame between title and legend.
        legend, in_title = lay_out(values, canvas.width - 4 - column, canvas.width - 4, rows)
        named = [entry.curve for entry in legend.entries]
        if not in_title:
            self._legend(legend, 1, 2)
            return 1 + len(legend.rows), named
        start = canvas.width - 3 - legend.widths[0]
        canvas.text(0, start, " " * (legend.widths[0] + 2), inks["label"])
        self._legend(legend, 0, start + 1)
        return 1, named

    def _legend(self, legend: Legend, row: int, column: int) -> None:
        canvas, inks = self.canvas, self.inks
        for offset, entries in enumerate(legend.rows):
            at = column
            for entry in entries:
                sign, ink = self.signs.lines[entry.curve.line], inks[entry.curve.color]
                at = canvas.text(row + offset, at, sign, ink)
                for text, part in ((entry.name, "name"), (entry.value, "value"), (entry.note, "note")):
                    at = canvas.text(row + offset, at + 1, text, inks[part]) if text else at
                at += GAP

    def _value(self, curve: Curve) -> str:
        series, at = curve.series, self.view.crosshair
        if at is not None:
            return self._say(curve.format(series.at(at)))
        return self._say(curve.format(float(series.y[-1]) if len(series) else None))

    def _message(self, text: str, area: Area) -> None:
        column = area.column + (area.width - len(text)) // 2
        if area.height > 0 and len(text) <= area.width:
            self.canvas.text(area.row + (area.height - 1) // 2, column, text, self.inks["label"])

    # Axes.

    def _y_scale(self, x: Scale | None) -> tuple[Scale, str]:
        """The range of y, and a tag about outliers beyond it."""
        log, view = self.view.log_y, self.view
        fixed = self.options.y_range
        if view.y is not None:
            return view.y, ""
        if fixed is not None and fixed[0] < fixed[1] and not (log and fixed[0] <= 0):
            return Scale(*fixed, log), ""
        if x is None:
            return scale_for([], log), ""
        read = [self._columns(curve.series, x, self.expected_width) for curve in self.curves]
        values = np.concatenate([v for c in read for v in (c.low, c.high)])
        if not self.options.clip_outliers:
            return scale_for(values, log), ""
        newest = np.array([curve.series.y[-1] for curve in self.curves if len(curve.series)])
        kept, above, below = without_outliers(values, newest, log)
        arrows = self.signs.above * above + self.signs.below * below
        return scale_for(kept, log), f"{arrows} clipped" if arrows else ""

    def _y_axis(self, y: Scale, area: Area) -> Area:
        """Draws the labels on the left; returns what is left of the area."""
        rows, dots = area.height - self.rail, self.canvas.marker.down
        marks = ticks(y, (rows + 1) // 2 if rows < 12 else rows // 3 + 1) if rows > 1 else []
        # In the row of the dots that a curve at that value has.
        at = (
            area.row
            + self.rail
            + np.rint((1 - y.places(np.array(marks))) * (rows * dots - 1)).astype(int) // dots
        )
        placed = dict(zip(at.tolist(), labels(marks, y.log), strict=True))
        if self.rail:
            placed[area.row] = self._say(compact(math.inf))
        width = max(map(len, placed.values()), default=0)
        pad = 1 if area.width >= 30 else 0
        taken = width + 2 * pad if width + 2 * pad < area.width // 2 else 0
        if taken:
            for row, text in placed.items():
                self.canvas.text(row, area.column + pad, text.rjust(width), self.inks["label"])
        return Area(area.row, area.column + taken, area.height, area.width - taken)

    def _marks(self, x: Scale, area: Area, row: int) -> None:
        """Draws the checkpoints; a label stands on the side of its mark where there is room."""
        for mark in self.options.marks:
            if x.low <= mark.x <= x.high:
                column, word = _column(x, mark.x, area), self._say(mark.label)
                self.canvas.text(row, column, self.signs.mark, self.inks["mark"])
                if column + len(word) >= self.canvas.width - 1:
                    column -= len(word) + 1
                if column + 1 >= area.column:
                    self.canvas.text(row, column + 1, word, self.inks["mark"])

    def _x_axis(self, x: Scale, area: Area) -> None:
        """Draws the labels in the frame's lower line; the crosshair's label goes first."""
        canvas, bottom = self.canvas, self.canvas.height - 1
        texts = [(value, text, "label") for value, text in _x_labels(x, area.width, self.view.x is None)]
        at = self.view.crosshair
        if at is not None and x.low <= at <= x.high:
            cells = abs(at) / (x.high - x.low) * area.width  # the digits must tell this many cells apart
            text = compact(at, min(max(math.ceil(math.log10(max(cells, 1))), 1), 12))
            texts.insert(0, (at, text, "value"))
        taken = np.zeros(canvas.width, np.bool_)
        for value, text, ink in texts:
            column = _column(x, value, area)
            first = max(1, min(column - (len(text) + 1) // 2, canvas.width - 3 - len(text)))
            place = slice(first, first + len(text) + 2)
            if not taken[place].any():
                canvas.text(bottom, first, f" {text} "[: canvas.width - 1 - first], self.inks[ink])
                taken[place] = True

    # Inside the area.

    def _curve(self, curve: Curve, x: Scale, y: Scale, area: Area) -> None:
        """Draws one curve; a smoothed one on top of its raw samples."""
        weight = self.view.smoothing if curve.smooth else 0.0
        if weight or curve.faint:
            self._layer(self._columns(curve.series, x, area.width), curve, y, area, faint=True)
        if not curve.faint:
            series = curve.series.smoothed(weight) if weight else curve.series
            self._layer(self._columns(series, x, area.width), curve, y, area, faint=False)

    def _layer(self, columns: DotColumns, curve: Curve, y: Scale, area: Area, faint: bool) -> None:
        down, ink = self.canvas.marker.down, self.inks[curve.color + "~" * faint]
        below = Area(area.row + self.rail, area.column, area.height - self.rail, area.width)
        last = below.height * down - 1

        def rows_of(values: Floats) -> Floats:
            rows = (1 - y.places(values)) * last
            return np.where(rows == np.inf, np.nan, np.clip(rows, -FAR, FAR))

        self.canvas.curve(below, trace(columns, rows_of), ink, curve.line, faint)
        if columns.infinite.any():
            middle = (down - 1) // 2
            on_rail = trace(columns, lambda values: np.where(np.isposinf(values), middle, np.nan))
            self.canvas.curve(Area(area.row, area.column, 1, area.width), on_rail, ink, curve.line, faint)

    def _here(self, column: int, area: Area) -> None:
        """Labels where the run is, in the lowest row with free cells beside the rule."""
        text = "you are here" if area.width >= 40 else "here"
        leftmost, rightmost = area.column, area.column + area.width - len(text)
        for row in range(area.row + area.height - 1, area.row + self.rail - 1, -1):
            for first in (column + 1, column - len(text)):
                free = self.canvas.is_empty(Area(row, first - 1, 1, len(text) + 2))
                if free and leftmost <= first <= rightmost:
                    self.canvas.text(row, first, text, self.inks["label"])
                    return

    def _columns(self, series: Series, x: Scale, width: int) -> DotColumns:
        key = id(series), width
        if key not in self._read:
            self._read[key] = series.columns(x.low, x.high, width * self.canvas.marker.across)
        return self._read[key]

    def _verticals(self, x: Scale, area: Area) -> None:
        """Draws what is behind the curves: the crosshair, where the run is, the rail of infinity."""
        for at, glyph, ink in (
            (self.view.crosshair, self.signs.vertical, "crosshair"),
            (self.options.here, self.signs.upright, "rule"),
        ):
            if at is not None and x.low <= at <= x.high:
                column = _column(x, at, area)
                if ink == "rule":
                    self._here(column, area)
                self.canvas.behind(Area(area.row, column, area.height, 1), glyph, self.inks[ink])
        if self.rail:
            self.canvas.behind(Area(area.row, area.column, 1, area.width), self.signs.rail, self.inks["rule"])


def _x_scale(series: Sequence[Series], options: ChartOptions, view: View) -> Scale | None:
    """The range of x: as zoomed to, as the options say, or all of it; None without data."""
    filled = [s for s in series if len(s)]
    if not filled:
        return None
    if view.x is not None:
        return view.x
    if options.x_range is not None and options.x_range[0] < options.x_range[1]:
        return Scale(*options.x_range)
    low, high = min(float(s.x[0]) for s in filled), max(float(s.x[-1]) for s in filled)
    return scale_for([low, high if high > low else low + 1])


def _x_labels(x: Scale, width: int, whole: bool) -> list[tuple[float, str]]:
    """As many ticks as leave space between their labels; if they are few, the ends of the `whole` run."""
    count = max(width // 8, 2)
    while True:
        marks = ticks(x, count)
        texts = labels(marks)
        if len(marks) <= 2 or sum(len(text) + 5 for text in texts) <= width:
            break
        count = len(marks) - 1
    ends = [x.low, x.high]
    if whole and len(marks) <= 2 and sum(map(len, labels(ends))) < width // 2:
        marks, texts = ends, labels(ends)
    return list(zip(marks, texts, strict=True))


def _column(x: Scale, value: float, area: Area) -> int:
    """The canvas column of a value on the axis."""
    return area.column + min(int(x.place(value) * area.width), area.width - 1)
