"""The input of a chart: curves, marks and options."""

from collections.abc import Callable
from dataclasses import dataclass, field

from linftui.tui.chart.axis import compact
from linftui.tui.chart.canvas import LineStyle
from linftui.tui.chart.series import Series


@dataclass(frozen=True)
class Curve:
    """A named series and its look.

    `note` says what the curve is not ("not a certificate"): the legend shows it wherever the curve is drawn,
    or at least `short_note`; a chart too small for that leaves out the curve.
    """

    name: str
    series: Series
    color: str
    line: LineStyle = "solid"
    faint: bool = False
    note: str = ""
    short_note: str = ""
    format: Callable[[float | None], str] = compact
    smooth: bool = True  # whether smoothing applies; False for schedules


@dataclass(frozen=True)
class Mark:
    """Something at an x, such as a checkpoint: a small triangle below the curves, with a word beside it."""

    x: float
    label: str = ""


@dataclass(frozen=True)
class ChartOptions:
    """What a chart shows unless zoomed or panned; a range of None follows the data."""

    log_y: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    clip_outliers: bool = True
    marks: tuple[Mark, ...] = field(default=())
    growing: bool = True  # more data may come
    here: float | None = None  # "you are here": the x between the past and the plan
