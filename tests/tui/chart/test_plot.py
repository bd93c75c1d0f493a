"""What a drawn chart shows, cell by cell: data where its axes say, a legend beside it, honest words."""

import itertools
import math

import numpy as np
import pytest

from linftui.tui.chart import palette
from linftui.tui.chart.canvas import ASCII, BLOCK, BRAILLE, Area, Marker
from linftui.tui.chart.curve import ChartOptions, Curve, Mark
from linftui.tui.chart.plot import Inks, Plot, PlotInput, View, draw
from linftui.tui.chart.series import Series

MARKERS = (BRAILLE, BLOCK, ASCII)


def series(xs: list[float] | np.ndarray, ys: list[float] | np.ndarray) -> Series:
    made = Series()
    made.extend(xs, ys)
    return made


def curve(name: str, ys: list[float], **look: object) -> Curve:
    return Curve(name, series(np.arange(len(ys)), ys), str(look.pop("color", palette.LOSS)), **look)


class Picture:
    """A drawing and ways to read it."""

    def __init__(
        self,
        curves: list[Curve],
        size: tuple[int, int] = (12, 60),
        options: ChartOptions | None = None,
        view: View | None = None,
        marker: Marker = BRAILLE,
        title: str = "loss",
    ) -> None:
        options, self.inks = options or ChartOptions(), Inks()
        view = view or View(log_y=options.log_y)
        model = PlotInput(title, curves, options, view)
        self.plot: Plot = draw(model, size, marker, self.inks, expected_width=size[1])
        self.rows = self.plot.canvas.runs(range(size[0]))
        self.lines = ["".join(text for text, _ in row) for row in self.rows]
        self.text = "\n".join(self.lines)

    def drawn_in(self, ink: str) -> set[tuple[int, int]]:
        """Cells (row, column) that hold something in an ink."""
        found, number = set(), self.inks.get(ink)
        for row, runs in enumerate(self.rows):
            cells = [(glyph, of) for text, of in runs for glyph in text]
            found |= {(row, k) for k, (glyph, of) in enumerate(cells) if of == number and glyph.strip() and k}
        return found

    def curve_cells(self, ink: str = palette.LOSS) -> set[tuple[int, int]]:
        """Cells of the area that a curve is drawn in."""
        area = self.plot.area
        return {
            (row, column)
            for row, column in self.drawn_in(ink)
            if area.row <= row < area.row + area.height and area.column <= column < area.column + area.width
        }

    def label_row(self, label: str) -> int:
        """The row that an axis label stands in."""
        return next(k for k, line in enumerate(self.lines) if line[1:].split()[:1] == [label])


def test_the_values_stand_beside_their_labels() -> None:
    for value, label in ((0.25, ".25"), (0.5, ".50"), (0.75, ".75")):
        picture = Picture([curve("a", [value] * 3)], options=ChartOptions(y_range=(0.0, 1.0)))
        assert {row for row, _ in picture.curve_cells()} == {picture.label_row(label)}


@pytest.mark.parametrize("marker", MARKERS, ids=["braille", "block", "ascii"])
def test_values_on_a_log_axis_stand_beside_their_labels_and_zero_is_a_gap(marker: Marker) -> None:
    lam = curve("lam", [0.1] * 10 + [0.0] * 20 + [0.001] * 10)
    picture = Picture([lam], (16, 60), ChartOptions(log_y=True), marker=marker)
    area, cells = picture.plot.area, picture.curve_cells()
    assert {row for row, _ in cells} == {picture.label_row(".1"), picture.label_row(".001")}
    gap = range(area.column + area.width * 11 // 40, area.column + area.width * 29 // 40)
    assert not {column for _, column in cells} & set(gap)


def test_infinity_has_a_rail_of_its_own_above_all_that_is_finite() -> None:
    ys = [8.0, 1000.0, 8.0, 8.0, math.inf, math.inf, math.inf, 10.0]
    picture = Picture([curve("p", ys)], options=ChartOptions(log_y=True))
    area, rail = picture.plot.area, picture.label_row("∞")
    assert rail == area.row
    on_rail = [column for row, column in sorted(picture.curve_cells()) if row == rail]
    width = area.width / 7  # the samples' distance
    assert on_rail[0] == pytest.approx(area.column + 4 * width, abs=1)
    assert on_rail[-1] == pytest.approx(area.column + 6 * width, abs=1)
    assert on_rail == list(range(on_rail[0], on_rail[-1] + 1))
    # The rest of the rail is dotted, and the curve climbs to it.
    assert picture.lines[rail].count("┄") == area.width - len(on_rail)
    last_finite = area.column + int(3 * width)
    climb = {row for row, column in picture.curve_cells() if abs(column - last_finite) <= 1}
    assert climb == set(range(rail + 1, area.row + area.height))
    assert "∞" not in Picture([curve("p", [8.0, 9.0])]).text


def test_an_outlier_is_clipped_and_the_title_says_so() -> None:
    calm = [1.0 + 0.01 * (k % 10) for k in range(60)]
    spiked = calm[:30] + [90.0] + calm[30:]
    picture = Picture([curve("train", spiked)])
    assert "▲ clipped" in picture.lines[0] and picture.plot.y.high < 2
    assert min(picture.curve_cells())[0] == picture.plot.area.row  # it is seen to leave
    whole = Picture([curve("train", spiked)], options=ChartOptions(clip_outliers=False))
    assert "clipped" not in whole.text and whole.plot.y.high >= 90
    assert "clipped" not in Picture([curve("train", calm)]).text


def hero(note: str = "not a certificate") -> list[Curve]:
    return [
        curve("true, p = ∞", [0.1, 0.2, 0.3], color=palette.CERTIFIED),
        curve("clean", [0.6, 0.7, 0.8], color=palette.CLEAN),
        curve("at current p", [0.5, 0.4, 0.4], color=palette.AT_P, note=note, short_note="not a cert."),
    ]


@pytest.mark.parametrize("size", list(itertools.product((3, 5, 8, 12, 45), (6, 12, 20, 26, 40, 60, 160))))
def test_what_is_not_a_certificate_is_never_drawn_without_saying_so(size: tuple[int, int]) -> None:
    picture = Picture(hero(), size, title="certified accuracy · test · eps 8/255")
    told = "not a certificate" in picture.text or "not a cert." in picture.text
    assert told or not picture.curve_cells(palette.AT_P)
    if size[0] >= 8 and size[1] >= 26:
        assert told and picture.curve_cells(palette.AT_P)
        assert picture.curve_cells(palette.CERTIFIED)
    if size[0] >= 12 and size[1] >= 60:
        assert "not a certificate" in picture.text


@pytest.mark.parametrize("size", list(itertools.product((3, 8, 20), (8, 26, 100))))
def test_the_legend_hides_no_data(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    ys = rng.uniform(0, 1, 60_000).tolist()
    options = ChartOptions(marks=(Mark(1500.0, "best"),), here=30_000.0)
    curves = [curve(f"curve {k}", ys) for k in range(4)]
    picture = Picture(curves, size, options, View(crosshair=15_000.0))
    area = picture.plot.area
    assert len(picture.curve_cells()) == area.height * area.width  # noise fills every cell


@pytest.mark.parametrize("marker", MARKERS, ids=["braille", "block", "ascii"])
@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 7])
def test_no_size_is_too_small(height: int, marker: Marker) -> None:
    curves = [*hero(), curve("p", [1.0, math.inf, 2.0])]
    options = ChartOptions(marks=(Mark(1.0, "best"),), here=1.0, log_y=True)
    for width in (*range(1, 15), 21, 30):
        picture = Picture(curves, (height, width), options, View(crosshair=1.5), marker)
        assert [len(line) for line in picture.lines] == [width] * height


DEGENERATE: dict[str, list[float]] = {
    "one": [3.0],
    "equal": [3.0, 3.0, 3.0],
    "zeros": [0.0, 0.0],
    "negative": [-1.0, -2.0],
    "NaN": [math.nan, math.nan],
    "inf": [math.inf, math.inf],
    "-inf": [-math.inf, 1.0, -math.inf],
    "huge": [1e300, -1e300],
    "tiny": [5e-324, 1e-300],
    "same but for rounding": [1.0, 1.0 + 1e-16, 1.0 - 1e-16],
}


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("ys", list(DEGENERATE.values()), ids=list(DEGENERATE))
def test_odd_data_is_drawn_as_far_as_it_can_be(ys: list[float], log: bool) -> None:
    picture = Picture([curve("odd", ys)], options=ChartOptions(log_y=log))
    visible = [y for y in ys if not math.isnan(y) and y > (0 if log else -math.inf)]
    assert bool(picture.curve_cells()) == bool(visible)
    assert ("nothing to draw" in picture.text) == (not visible)


def test_an_empty_chart_says_so_calmly() -> None:
    for curves in ([], [Curve("train", Series(), palette.LOSS)]):
        picture = Picture(curves)
        (row,) = [k for k, line in enumerate(picture.lines) if "no data yet" in line]
        assert row == pytest.approx(12 // 2, abs=1)
        left, right = picture.lines[row][1:-1].split("no data yet")
        assert abs(len(left) - len(right)) <= 1


def test_an_empty_chart_to_which_nothing_comes_promises_nothing() -> None:
    text = Picture([], options=ChartOptions(growing=False)).text
    assert "no data" in text and "yet" not in text


def test_a_view_beside_the_data_says_how_to_come_back() -> None:
    view = View()
    view.x = Picture([curve("a", [1.0, 2.0, 3.0])]).plot.x.panned(5.0)
    assert "0 resets the view" in Picture([curve("a", [1.0, 2.0, 3.0])], view=view).text


def test_the_legend_tells_the_newest_values_or_those_at_the_crosshair() -> None:
    curves = [curve("a", [0.1, 0.2, 0.3]), curve("b", [1.0, 2.0, math.inf])]
    assert "a .3" in Picture(curves).text and "b ∞" in Picture(curves).text
    picture = Picture(curves, view=View(crosshair=1.2))
    assert "a .2" in picture.text and "b 2" in picture.text
    area = picture.plot.area
    column = area.column + int(1.2 / 2 * area.width)
    assert {c for _, c in picture.drawn_in("crosshair")} == {column}
    assert "1.2" in picture.lines[-1]
    assert "a –" in Picture(curves, view=View(crosshair=-1.0)).text


def test_a_curve_formats_its_value_or_shows_none() -> None:
    told = Curve("p", series([0.0], [0.5]), palette.P, format=lambda value: f"<{value}>")
    silent = Curve("planned", series([0.0], [0.5]), palette.P, format=lambda _: "")
    (line,) = [line for line in Picture([told, silent]).lines if "planned" in line]
    assert "━ p <0.5>  ━ planned ┐" in line


def test_checkpoints_stand_below_the_curves_at_their_x() -> None:
    marks = (Mark(0.0), Mark(5.0, "best"), Mark(10.0, "last"), Mark(99.0))
    picture = Picture([curve("a", [float(k) for k in range(11)])], options=ChartOptions(marks=marks))
    area = picture.plot.area
    (row,) = [line for line in picture.lines if "▴" in line]
    assert [k for k, glyph in enumerate(row) if glyph == "▴"] == [
        area.column, area.column + area.width // 2, area.column + area.width - 1
    ]  # fmt: skip
    assert "▴best" in row and "last▴" in row
    assert picture.lines.index(row) >= area.row + area.height


def test_you_are_here_is_said_where_nothing_is_hidden() -> None:
    ys = [float(k % 7) for k in range(300)] + [0.0] * 300
    options = ChartOptions(here=400.0)
    picture, without = Picture([curve("a", ys)], (16, 90), options), Picture([curve("a", ys)], (16, 90))
    assert "you are here" in picture.text and "┊" in picture.text
    assert picture.curve_cells() == without.curve_cells()


def test_smoothing_draws_the_average_over_the_faint_raw_curve() -> None:
    ys = [float(k % 2) for k in range(400)]
    picture = Picture([curve("a", ys)], view=View(smoothing=0.99))
    assert "~.99" in picture.lines[0]
    middle = [row for row, column in picture.curve_cells() if column > 40]
    assert max(middle) - min(middle) <= 1 and picture.label_row(".50") in middle
    faint = picture.curve_cells(palette.LOSS + "~")
    assert len({row for row, _ in faint}) > 5
    unsmoothed = Picture([curve("p", ys, smooth=False)], view=View(smoothing=0.99))
    assert not unsmoothed.curve_cells(palette.LOSS + "~")


def test_the_first_curve_is_uppermost() -> None:
    curves = [curve("first", [1.0, 2.0], color=palette.RED), curve("second", [1.0, 2.0], color=palette.BLUE)]
    picture = Picture(curves)
    assert picture.curve_cells(palette.RED) and not picture.curve_cells(palette.BLUE)
    assert picture.text.index("first") < picture.text.index("second")


def test_without_colours_curves_differ_by_their_lines_in_plot_and_legend() -> None:
    curves = [curve(f"c{k}", [float(k)] * 2) for k in range(4)]
    picture = Picture(curves, (20, 60), view=View(colorless=True))
    assert all(sign in picture.lines[0] + picture.lines[1] for sign in "━╍┉┅")
    area, shapes = picture.plot.area, set()
    for row in {row for row, _ in picture.curve_cells()}:
        shapes.add(
            picture.lines[row][area.column + 8 : area.column + 24].translate({0x2809: 0x2824, 0x2812: 0x2824})
        )
    assert len(shapes) == 4


def test_strangers_names_do_nothing_and_keep_the_layout() -> None:
    hostile = "x\x1b[2J\n日本[red]"
    picture = Picture([curve(hostile, [1.0, 2.0], note=hostile)], title=hostile)
    assert "\x1b" not in picture.text and "[red]" in picture.text
    assert [len(line) for line in picture.lines] == [60] * 12
    assert Picture([], (1, 9), title=hostile).text == "x�[2J���["


def test_ascii_charts_are_all_ascii() -> None:
    ys = [1.0, 9.0, math.inf, 4.0, *[1.0] * 30, 90.0, 1.0]
    options = ChartOptions(marks=(Mark(1.0, "best"),), here=2.0)
    for width in (26, 60):
        picture = Picture(
            [*hero(), curve("λ", ys)],
            (14, width),
            options,
            View(crosshair=1.0),
            ASCII,
            "certified · eps ≤ 8/255",
        )
        assert picture.text.isascii()
        assert "inf" in picture.text


@pytest.mark.parametrize("zoomed", [False, True])
def test_narrow_axes_are_labelled_at_the_ends_of_the_run(zoomed: bool) -> None:
    view = View()
    if zoomed:
        view.x = Picture([curve("a", [0.0] * 1301)], (8, 22)).plot.x.zoomed(1.3, 0.5)
    picture = Picture([curve("a", [0.0] * 1301)], (8, 22), ChartOptions(x_range=(0.0, 1300.0)), view)
    numbers = [word for word in picture.lines[-1].replace("─", " ").split() if word not in "└┘"]
    assert numbers == (["500", "1k"] if zoomed else ["0", "1.3k"])


def test_a_range_that_does_not_rise_follows_the_data() -> None:
    options = ChartOptions(x_range=(0.0, 0.0), y_range=(1.0, 1.0))
    plot = Picture([curve("a", [1.0, 2.0, 3.0])], options=options).plot
    assert (plot.x.low, plot.x.high, plot.y.low, plot.y.high) == (0.0, 2.0, 1.0, 3.0)
    assert isinstance(plot.area, Area)
