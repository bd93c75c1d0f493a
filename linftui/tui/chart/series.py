"""A curve's samples, stored so that any stretch of a million of them is drawn in well under a millisecond.

Samples are appended in batches. The minimum and maximum of every full block of 16 are kept too, so that a
screen column is computed from few numbers and no spike is ever lost.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

BLOCK_SIZE = 16

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DotColumns:
    """The samples of a stretch of x in n equal columns, one for each column of dots.

    `low` and `high` are those of the finite samples, NaN if there are none. `first` and `last` are the
    outermost samples unchanged (NaN: a gap; inf), NaN too if `sampled` is false. `infinite`: one of them is
    +inf. `before` and `after` are the nearest samples outside, as (position, y), with column k at position k.
    """

    low: Floats
    high: Floats
    first: Floats
    last: Floats
    sampled: Bools
    infinite: Bools
    before: tuple[float, float] | None
    after: tuple[float, float] | None


class Series:
    """Samples (x, y) with x in order. A y of NaN is a gap, +inf a value of its own; -inf counts as a gap."""

    def __init__(self) -> None:
        self._size = 0
        # Room for at least one more sample, in whole blocks, so that the last block always exists.
        self._x: Floats = np.zeros(BLOCK_SIZE)
        self._y: Floats = np.zeros(BLOCK_SIZE)
        # For each full block: lowest and highest finite sample, and whether one is +inf.
        self._low: Floats = np.full(1, np.nan)
        self._high: Floats = np.full(1, np.nan)
        self._infinite: Bools = np.zeros(1, dtype=np.bool_)
        self._smooth: Smoothed | None = None

    def __len__(self) -> int:
        return self._size

    @property
    def x(self) -> Floats:
        """The x of the samples, a view that is valid until the next change."""
        return self._x[: self._size]

    @property
    def y(self) -> Floats:
        """The y of the samples, likewise a view."""
        return self._y[: self._size]

    @property
    def has_infinity(self) -> bool:
        """Whether any sample is +inf."""
        full = self._size // BLOCK_SIZE
        return bool(self._infinite[:full].any() or np.isposinf(self.y[full * BLOCK_SIZE :]).any())

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The lowest and highest finite y, or None if there is none."""
        full = self._size // BLOCK_SIZE
        tail = _finite(self.y[full * BLOCK_SIZE :])
        low = np.fmin.reduce(np.append(self._low[:full], tail), initial=np.nan)
        high = np.fmax.reduce(np.append(self._high[:full], tail), initial=np.nan)
        return None if np.isnan(low) else (float(low), float(high))

    def extend(self, xs: npt.ArrayLike, ys: npt.ArrayLike) -> None:
        """Appends samples.

        Raises:
            ValueError: xs and ys differ in length, or x is not finite, or falls (then call `truncate` first).
        """
        x, y = np.atleast_1d(np.asarray(xs, np.float64)), np.atleast_1d(np.asarray(ys, np.float64))
        if x.shape != y.shape or x.ndim != 1:
            raise ValueError(f"xs and ys must be equally long vectors; got {x.shape} and {y.shape}")
        before = self._x[self._size - 1 : self._size] if self._size else x[:1]
        if not np.isfinite(x).all() or (np.diff(x, prepend=before) < 0).any():
            raise ValueError("x must be finite and must not fall; call truncate() before repeated steps")
        old, size = self._size, self._size + len(x)
        self._reserve(size)
        self._x[old:size], self._y[old:size] = x, y
        self._size = size
        self._summarise(old // BLOCK_SIZE, size // BLOCK_SIZE)

    def truncate(self, x: float) -> None:
        """Drops every sample at `x` or beyond, since a resumed run repeats those steps."""
        self._size = int(np.searchsorted(self.x, x, side="left"))
        if self._smooth is not None:
            self._smooth.truncate(x)

    def at(self, x: float) -> float | None:
        """The y of the last sample at or before `x`; None if there is none."""
        index = int(np.searchsorted(self.x, x, side="right")) - 1
        return float(self._y[index]) if index >= 0 else None

    def smoothed(self, weight: float) -> "Series":
        """The exponential moving average of y, corrected for the bias of its start; gaps and infinities stay.

        `weight` in [0, 1) is the weight of the past. This series owns the result, and extends it at each
        call; another weight computes it from the beginning.
        """
        if self._smooth is None or self._smooth.weight != weight:
            self._smooth = Smoothed(weight)
        self._smooth.follow(self)
        return self._smooth

    def columns(self, x_low: float, x_high: float, n: int) -> DotColumns:
        """The samples of [x_low, x_high] in n columns of equal width; x_low < x_high.

        Column k holds the x from its edge up to the next column's; the last one includes x_high.
        """
        x, edges = self.x, np.linspace(x_low, x_high, n + 1)
        bounds = np.searchsorted(x, edges, side="left")
        bounds[-1] = np.searchsorted(x, x_high, side="right")
        start, stop = bounds[:-1], bounds[1:]
        sampled = stop > start
        low, high, infinite = self._extremes(start, stop)
        return DotColumns(
            low=low,
            high=high,
            first=np.where(sampled, self._y[start], np.nan),
            last=np.where(sampled, self._y[stop - 1], np.nan),
            sampled=sampled,
            infinite=infinite,
            before=self._outside(int(bounds[0]) - 1, x_low, x_high, n),
            after=self._outside(int(bounds[-1]), x_low, x_high, n),
        )

    def _outside(self, index: int, x_low: float, x_high: float, n: int) -> tuple[float, float] | None:
        if not 0 <= index < self._size:
            return None
        position = (float(self._x[index]) - x_low) / (x_high - x_low) * n - 0.5
        return position, float(self._y[index])

    def _extremes(
        self, start: npt.NDArray[np.intp], stop: npt.NDArray[np.intp]
    ) -> tuple[Floats, Floats, Bools]:
        """Lowest and highest finite sample, and whether one is +inf, for each stretch [start, stop)."""
        # The ends come from single samples, of the two blocks in which the stretch starts and stops.
        first, last = start // BLOCK_SIZE, stop // BLOCK_SIZE
        blocks = np.stack([first, last], axis=1)
        position = blocks[:, :, None] * BLOCK_SIZE + np.arange(BLOCK_SIZE)
        inside = (position >= start[:, None, None]) & (position < stop[:, None, None])
        ends = np.where(inside, self._y.reshape(-1, BLOCK_SIZE)[blocks], np.nan).reshape(len(start), -1)
        infinite: Bools = np.any(ends == np.inf, axis=1, keepdims=False)
        ends = _finite(ends)
        low, high = np.fmin.reduce(ends, axis=1), np.fmax.reduce(ends, axis=1)
        # The rest comes from whole blocks; every second reduction spans the gap between stretches, unused.
        wide = np.flatnonzero(first + 1 < last)
        if len(wide):
            between = np.stack([first[wide] + 1, last[wide]], axis=1).ravel()
            known = slice(0, self._size // BLOCK_SIZE + 1)
            low[wide] = np.fmin(low[wide], np.fmin.reduceat(self._low[known], between)[::2])
            high[wide] = np.fmax(high[wide], np.fmax.reduceat(self._high[known], between)[::2])
            infinite[wide] |= np.logical_or.reduceat(self._infinite[known], between)[::2]
        return low, high, infinite

    def _reserve(self, size: int) -> None:
        if size < len(self._x):
            return
        blocks = (size + size // 2) // BLOCK_SIZE + 1
        self._x = _grown(self._x, blocks * BLOCK_SIZE)
        self._y = _grown(self._y, blocks * BLOCK_SIZE)
        self._low = _grown(self._low, blocks + 1)
        self._high = _grown(self._high, blocks + 1)
        self._infinite = np.concatenate(
            [self._infinite, np.zeros(blocks + 1 - len(self._infinite), np.bool_)]
        )

    def _summarise(self, first: int, stop: int) -> None:
        samples = self._y[first * BLOCK_SIZE : stop * BLOCK_SIZE].reshape(-1, BLOCK_SIZE)
        self._infinite[first:stop] = np.isposinf(samples).any(axis=1)
        samples = _finite(samples)
        self._low[first:stop] = np.fmin.reduce(samples, axis=1)
        self._high[first:stop] = np.fmax.reduce(samples, axis=1)


class Smoothed(Series):
    """The moving average of another series, extended as that grows."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self._count = 0  # finite samples averaged so far
        self._average = 0.0  # of them, as if zeros had preceded

    def truncate(self, x: float) -> None:
        """Drops samples at `x` or beyond; the average continues from the rest."""
        super().truncate(x)
        finite = np.flatnonzero(np.isfinite(self.y))
        self._count = len(finite)
        share = 1 - self.weight**self._count
        self._average = float(self.y[finite[-1]]) * share if len(finite) else 0.0

    def follow(self, source: Series) -> None:
        """Appends the averages of the source's new samples."""
        x, y = source.x[len(self) :], source.y[len(self) :]
        finite = np.isfinite(y)
        values = y[finite]
        if len(values):
            averages = _moving_average(values, self.weight, self._average)
            self._average = float(averages[-1])
            # After this many samples the start weighs less than a rounding error.
            settled = int(-40 / math.log(self.weight)) + 1 if self.weight > 0 else 1
            early = averages[: max(settled - self._count, 0)]
            early /= 1 - np.power(self.weight, self._count + np.arange(1, len(early) + 1))
            self._count += len(values)
            y = y.copy()
            y[finite] = averages
        self.extend(x, y)


def _moving_average(values: Floats, weight: float, average: float) -> Floats:
    """a <- weight a + (1 - weight) v after each value v: a matrix product per block, and a carry."""
    lag = np.arange(BLOCK_SIZE)[None, :] - np.arange(BLOCK_SIZE)[:, None]
    kernel = np.where(lag >= 0, (1 - weight) * np.power(weight, np.maximum(lag, 0)), 0.0)
    blocks = -(-len(values) // BLOCK_SIZE)
    padded = np.zeros(blocks * BLOCK_SIZE)
    padded[: len(values)] = values
    own = padded.reshape(blocks, BLOCK_SIZE) @ kernel
    decay = weight**BLOCK_SIZE
    carried = accumulate(own[:-1, -1].tolist(), lambda past, last: past * decay + last, initial=average)
    fading = np.power(weight, np.arange(1, BLOCK_SIZE + 1))
    averages: Floats = own + np.fromiter(carried, np.float64, blocks)[:, None] * fading
    return averages.ravel()[: len(values)]


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


def _grown(array: Floats, size: int) -> Floats:
    return np.concatenate([array, np.zeros(size - len(array))])
