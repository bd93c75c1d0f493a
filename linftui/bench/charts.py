"""How long the dashboard's charts take to redraw: the real widgets, in a terminal of the given size."""

import asyncio
import time
from collections.abc import Iterator

import numpy as np


def redraw_times(
    points: int = 1_000_000, charts: int = 4, size: tuple[int, int] = (160, 45), repeats: int = 15
) -> list[float]:
    """Seconds that each of `repeats` redraws of `charts` charts took, with every line computed.

    Every chart shows two curves of `points` samples each, one of them with p's infinities, and fills its
    share of a terminal of `size` (columns, rows). Before each redraw the view is moved, so that nothing of
    the previous picture can be used.
    """
    return asyncio.run(_redraw_times(points, charts, size, repeats))


async def _redraw_times(points: int, charts: int, size: tuple[int, int], repeats: int) -> list[float]:
    # Imported only where they are measured.
    from textual.app import App
    from textual.containers import Grid
    from textual.widget import Widget

    from linftui.tui.chart import palette
    from linftui.tui.chart.chart import Chart
    from linftui.tui.chart.curve import ChartOptions, Curve
    from linftui.tui.chart.series import Series

    random = np.random.default_rng(0)
    steps = np.arange(points, dtype=np.float64)
    loss, p = Series(), Series()
    loss.extend(steps, 0.5 + np.exp(-4 * steps / points) + 0.05 * random.standard_normal(points))
    p.extend(steps, np.where(steps < 0.9 * points, 8 * 125 ** (steps / points), np.inf))
    curves = [Curve("loss", loss, palette.LOSS), Curve("p", p, palette.P)]
    widgets = [Chart(f"chart {k}", curves, ChartOptions(log_y=True)) for k in range(charts)]

    class Charts(App[None]):
        CSS = "Grid { grid-size: 2; }"

        def compose(self) -> Iterator[Widget]:
            yield Grid(*widgets)

    times = []
    async with Charts().run_test(size=size) as pilot:
        await pilot.pause()
        for repeat in range(repeats):
            start = time.perf_counter()
            for chart in widgets:
                chart.pan(0.05 if repeat % 2 else -0.05)
                chart.render_lines(chart.size.region)
            times.append(time.perf_counter() - start)
            await pilot.pause()
    return times
