"""The chart on a (headless) terminal: keys, mouse, crosshair, and that only what changed is painted."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from rich.segment import Segment
from textual import events
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.geometry import Region
from textual.pilot import Pilot
from textual.strip import Strip

from linftui.bench.charts import redraw_times
from linftui.tui.chart import palette
from linftui.tui.chart.chart import Chart
from linftui.tui.chart.curve import ChartOptions, Curve
from linftui.tui.chart.series import Series

XS = np.linspace(0.0, 100.0, 501)


class Watched(Chart):
    """A chart that notes what it was asked to paint."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)
        self.refreshed: list[tuple[Region, ...]] = []
        self.rendered: list[int] = []

    def refresh(self, *regions: Region, **named: bool) -> "Watched":
        self.refreshed.append(regions)
        return super().refresh(*regions, **named)

    def render_line(self, y: int) -> Strip:
        self.rendered.append(y)
        return super().render_line(y)


class Grid(App[None]):
    """Two charts that share their crosshair."""

    def __init__(self, options: ChartOptions | None = None) -> None:
        super().__init__()
        self.loss, self.p = Series(), Series()
        self.loss.extend(XS, 1 + np.exp(-XS / 20))
        self.p.extend(XS, np.where(XS < 90, 8 + XS, np.inf))
        self.left = Watched("loss", [Curve("train", self.loss, palette.LOSS)], options, id="left")
        self.right = Watched("p", [Curve("p", self.p, palette.P)], id="right")
        self.moves: list[float | None] = []

    def compose(self) -> ComposeResult:
        yield Horizontal(self.left, self.right)

    def on_chart_crosshair_moved(self, event: Chart.CrosshairMoved) -> None:
        self.moves.append(event.x)
        for chart in (self.left, self.right):
            chart.crosshair = event.x


def on_terminal(
    test: Callable[[Grid, Pilot[None]], Awaitable[None]],
    options: ChartOptions | None = None,
    size: tuple[int, int] = (100, 20),
) -> None:
    """Runs a test with the app on a terminal of `size`, the left chart focused."""

    async def run() -> None:
        app = Grid(options)
        async with app.run_test(size=size) as pilot:
            app.left.focus()
            await pilot.pause()
            await test(app, pilot)

    asyncio.run(run())


def shown(chart: Chart) -> str:
    """What the terminal shows of a chart."""
    return "\n".join(strip.text for strip in chart.render_lines(chart.size.region))


async def wheel(pilot: Pilot[None], chart: Chart, kind: type[events.MouseEvent], x: int, shift: bool) -> None:
    """Turns the wheel with the pointer on a column of the chart."""
    chart.post_message(kind(chart, x, 8, 0, 0, 0, shift, False, False))
    await pilot.pause()


def span(chart: Chart) -> float:
    low, high = chart.x_shown or (math.nan, math.nan)
    return high - low


def test_keys_zoom_and_pan_x_and_reset() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        chart = app.left
        assert chart.x_shown == (0.0, 100.0)
        await pilot.press("plus")
        assert chart.x_shown == pytest.approx((100 / 6, 500 / 6))
        await pilot.press("equals_sign", "minus", "minus")
        assert chart.x_shown == pytest.approx((0.0, 100.0))
        await pilot.press("greater_than_sign")
        assert chart.x_shown == pytest.approx((20.0, 120.0))
        await pilot.press("less_than_sign", "comma")
        assert chart.x_shown == pytest.approx((-20.0, 80.0))
        await pilot.press("0")
        assert chart.x_shown == (0.0, 100.0)
        assert app.right.x_shown == (0.0, 100.0)

    on_terminal(test)


def test_keys_zoom_and_pan_y_and_reset() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        chart = app.left
        low, high = chart.y_shown or (0.0, 0.0)
        await pilot.press("K")
        assert chart.y_shown == pytest.approx((low + (high - low) / 6, high - (high - low) / 6))
        await pilot.press("J", "k")
        assert chart.y_shown == pytest.approx((low + (high - low) / 5, high + (high - low) / 5))
        await pilot.press("j", "j")
        assert chart.y_shown == pytest.approx((low - (high - low) / 5, high - (high - low) / 5))
        await pilot.press("0")
        assert chart.y_shown == (low, high)

    on_terminal(test)


def test_zoom_is_around_the_crosshair() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        app.left.crosshair = 75.0
        await pilot.press("plus")
        low, high = app.left.x_shown or (0.0, 0.0)
        assert (75 - low) / (high - low) == pytest.approx(0.75)

    on_terminal(test)


def test_l_toggles_the_log_axis_and_s_goes_through_the_smoothings() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        chart = app.left
        linear = chart.y_shown
        await pilot.press("K", "L")
        assert chart.log_y and chart.y_shown == pytest.approx((1.0, 2.0))
        await pilot.press("L")
        assert not chart.log_y and chart.y_shown == linear
        seen = []
        for _ in range(4):
            await pilot.press("s")
            await pilot.pause()
            seen.append(chart.smoothing)
            assert (f"~.{str(chart.smoothing)[2:]}" in shown(chart)) == bool(chart.smoothing)
        assert seen == [0.9, 0.99, 0.999, 0.0]

    on_terminal(test)


def test_arrows_move_a_crosshair_that_the_charts_share() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        await pilot.press("left")
        at_end = app.left.crosshair or 0.0
        assert at_end > 95
        await pilot.press("shift+left", "left")
        await pilot.pause()
        back = app.left.crosshair or 0.0
        cell = (at_end - back) / 11
        assert 0.5 < cell < 5
        assert app.right.crosshair == app.left.crosshair == app.moves[-1] == back
        assert f"p {8 + app.p.x[np.searchsorted(app.p.x, back, 'right') - 1]:.4g}" in shown(app.right)
        await pilot.press("right")
        assert app.left.crosshair == pytest.approx(back + cell)
        await pilot.press("0")
        await pilot.pause()
        assert app.right.crosshair is app.left.crosshair is app.moves[-1] is None
        assert "p ∞" in shown(app.right)

    on_terminal(test)


def test_the_mouse_moves_the_crosshair_zooms_and_drags() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        chart = app.left
        await pilot.hover(chart, offset=(25, 8))
        await pilot.pause()
        at = chart.crosshair
        assert at is not None and app.right.crosshair == at
        assert at == pytest.approx(50, abs=8)
        await wheel(pilot, chart, events.MouseScrollUp, 25, shift=False)
        assert span(chart) == pytest.approx(100 / 1.5)
        low = (chart.x_shown or (0.0, 0.0))[0]
        assert (at - low) / span(chart) == pytest.approx(at / 100, abs=0.02)
        await wheel(pilot, chart, events.MouseScrollDown, 25, shift=False)
        assert chart.x_shown == pytest.approx((0.0, 100.0))
        y_low, y_high = chart.y_shown or (0.0, 0.0)
        await wheel(pilot, chart, events.MouseScrollUp, 25, shift=True)
        assert chart.y_shown == pytest.approx((y_low + (y_high - y_low) / 6, y_high - (y_high - y_low) / 6))
        assert chart.x_shown == pytest.approx((0.0, 100.0))
        before = chart.x_shown, chart.y_shown
        await pilot.mouse_down(chart, offset=(20, 8))
        await pilot.hover(chart, offset=(30, 8))
        await pilot.mouse_up(chart, offset=(30, 8))
        assert span(chart) == pytest.approx(100) and (chart.x_shown or (0.0,))[0] < -15
        assert chart.y_shown == before[1]
        await pilot.hover(app.right, offset=(3, 8))
        await pilot.pause()
        assert chart.crosshair != at

    on_terminal(test)


def test_nothing_new_paints_nothing() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        await pilot.pause()
        app.left.refreshed.clear()
        app.left.rendered.clear()
        app.left.redraw()
        await pilot.pause()
        assert app.left.refreshed == [] and app.left.rendered == []

    on_terminal(test)


def test_appending_paints_only_the_lines_and_columns_that_changed() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        await pilot.pause()
        chart = app.left
        before = shown(chart).split("\n")
        chart.refreshed.clear()
        chart.rendered.clear()
        app.loss.extend(np.linspace(101, 110, 50), np.full(50, 1.001))
        chart.redraw()
        await pilot.pause()
        after = shown(chart).split("\n")
        changed = [
            (row, [k for k in range(50) if old[k] != new[k]])
            for row, (old, new) in enumerate(zip(before, after, strict=True))
            if old != new
        ]
        assert 1 <= len(changed) <= 4
        (regions,) = chart.refreshed
        assert sorted(chart.rendered) == sorted(region.y for region in regions)
        assert {row for row, _ in changed} <= {region.y for region in regions}
        for row, columns in changed:
            (region,) = [region for region in regions if region.y == row]
            assert region.x <= columns[0] and columns[-1] < region.right
        assert sum(region.area for region in regions) < 50 * 20 / 8

    on_terminal(test, ChartOptions(x_range=(0.0, 200.0)))


def test_what_is_painted_by_parts_is_what_is_painted_at_once() -> None:
    grown: list[tuple[np.ndarray, np.ndarray]] = []
    pictures: list[list[list[Segment]]] = []

    def picture(chart: Chart) -> list[list[Segment]]:
        return [list(strip) for strip in chart.render_lines(chart.size.region)]

    async def by_parts(app: Grid, pilot: Pilot[None]) -> None:
        rng = np.random.default_rng(0)
        for step in range(12):
            app.loss.extend(app.loss.x[-1] + np.arange(5.0), rng.normal(size=5))
            if step == 6:
                app.loss.truncate(90.0)
            app.left.crosshair = float(rng.uniform(0, 100)) if step % 3 else None
            app.left.redraw()
            await pilot.pause()
        app.left.crosshair = 50.0
        grown.append((app.loss.x.copy(), app.loss.y.copy()))
        pictures.append(picture(app.left))

    async def at_once(app: Grid, pilot: Pilot[None]) -> None:
        app.loss.truncate(-math.inf)
        app.loss.extend(*grown[0])
        app.left.crosshair = 50.0
        app.left.notify_style_update()
        app.left.refresh()
        pictures.append(picture(app.left))

    on_terminal(by_parts)
    on_terminal(at_once)
    assert pictures[0] == pictures[1]


def test_focus_shows_in_the_frame_and_another_theme_in_all_colours() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        def frame_color(chart: Chart) -> object:
            style = next(iter(chart.render_lines(chart.size.region)[0])).style
            return style.color if style else None

        focused, other = frame_color(app.left), frame_color(app.right)
        assert focused != other
        await pilot.press("tab")
        await pilot.pause()
        assert (frame_color(app.left), frame_color(app.right)) == (other, focused)
        app.theme = "textual-light"
        await pilot.pause()
        assert frame_color(app.left) != other

    on_terminal(test)


def test_a_resize_draws_anew() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        for size in ((60, 10), (5, 2), (300, 80), (100, 20)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert [len(line) for line in shown(app.left).split("\n")] == [app.left.size.width] * size[1]
        assert "train" in shown(app.left)

    on_terminal(test)


def test_a_chart_begins_empty_and_takes_curves_later() -> None:
    async def test(app: Grid, pilot: Pilot[None]) -> None:
        chart = app.left
        chart.set_curves([])
        await pilot.pause()
        assert "no data yet" in shown(chart)
        assert chart.x_shown is None and chart.y_shown is None
        await pilot.press("plus", "comma", "K", "j", "s", "L", "left", "0")
        await pilot.hover(chart, offset=(25, 8))
        chart.heading = "something else"
        chart.set_curves([Curve("p", app.p, palette.P)])
        await pilot.pause()
        assert "something else" in shown(chart) and "p ∞" in shown(chart)
        chart.marker = "ascii"
        chart.redraw()
        await pilot.pause()
        assert shown(chart).isascii()

    on_terminal(test)


def test_without_colours_lines_tell_curves_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def test(app: Grid, pilot: Pilot[None]) -> None:
        app.left.set_curves([Curve("a", app.loss, palette.LOSS), Curve("b", app.loss, palette.P)])
        await pilot.pause()
        assert "━ a" in shown(app.left) and "╍ b" in shown(app.left)

    on_terminal(test)


def test_every_key_is_described_and_can_be_remapped() -> None:
    bindings = [binding for binding in Chart.BINDINGS if not isinstance(binding, tuple)]
    assert all(binding.description and (binding.id or "").startswith("chart.") for binding in bindings)
    assert len({binding.id for binding in bindings}) == len(bindings)


def test_sixteen_colours_are_enough() -> None:
    from rich.color import Color, ColorSystem

    for palettes in (palette.CYCLE, (palette.CERTIFIED, palette.CLEAN, palette.ATTACKED, palette.AT_P)):
        numbers = [Color.parse(color).downgrade(ColorSystem.STANDARD).number for color in palettes]
        assert len(set(numbers)) == len(palettes)


def test_the_bench_redraws_for_real() -> None:
    times = redraw_times(points=1000, charts=2, size=(80, 24), repeats=3)
    assert len(times) == 3 and all(0 < seconds < math.inf for seconds in times)
