"""Turns columns of samples into dots: a run of dots in each column, joined from column to column by lines."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from linftui.tui.chart.series import DotColumns, Floats

Ints = npt.NDArray[np.int64]
FAR = 1 << 30


@dataclass(frozen=True)
class Trace:
    """The dots of each column, from row `top` (0 is the highest) to `bottom`; none if top > bottom."""

    top: Ints
    bottom: Ints


def trace(columns: DotColumns, rows_of: Callable[[Floats], Floats]) -> Trace:
    """The dots of a curve; `rows_of` gives each y its row, inf included, and NaN for a gap.

    Neighbouring samples are joined by straight lines on the screen, even across empty columns, but never
    across a gap. Each column shows its own samples from the lowest to the highest, and its part of those
    lines.
    """
    infinite = np.where(columns.infinite, np.inf, np.nan)
    rows = rows_of(np.stack([columns.first, columns.last, columns.low, columns.high, infinite]))
    edges = _line_at_edges(columns, rows[0], rows[1], rows_of)
    line_top, line_bottom = np.fmin(edges[:-1], edges[1:]), np.fmax(edges[:-1], edges[1:])
    # A column has the dots whose middle the line passes; so neighbours divide the line between them.
    top = np.fmin(np.rint(np.fmin.reduce(rows)), np.ceil(line_top))
    bottom = np.fmax(np.rint(np.fmax.reduce(rows)), np.floor(line_bottom))
    between = top > bottom  # only a line, which passes the middle of no dot
    top[between] = bottom[between] = np.rint((line_top + line_bottom)[between] / 2)
    return Trace(_whole(top, FAR), _whole(bottom, -FAR))


def _line_at_edges(
    columns: DotColumns, first: Floats, last: Floats, rows_of: Callable[[Floats], Floats]
) -> Floats:
    """The rows of the joining line at the n + 1 edges of the columns; NaN: no line."""
    place = np.flatnonzero(columns.sampled).astype(np.float64)
    entered, left = first[columns.sampled], last[columns.sampled]
    if columns.before is not None:
        at, y = columns.before
        place, entered = np.insert(place, 0, at), np.insert(entered, 0, np.nan)
        left = np.insert(left, 0, rows_of(np.array([y])))
    if columns.after is not None:
        at, y = columns.after
        place, left = np.append(place, at), np.append(left, np.nan)
        entered = np.append(entered, rows_of(np.array([y])))
    edges = np.arange(len(first) + 1) - 0.5
    following = np.searchsorted(place, edges)
    rows = np.full(len(edges), np.nan)
    within = np.flatnonzero((following > 0) & (following < len(place)))
    if len(within):
        b = following[within]
        a = b - 1
        share = (edges[within] - place[a]) / (place[b] - place[a])
        rows[within] = left[a] * (1 - share) + entered[b] * share
    return rows


def _whole(rows: Floats, nowhere: int) -> Ints:
    return np.where(np.isnan(rows), nowhere, np.clip(rows, -FAR, FAR)).astype(np.int64)
