"""A series against what plain Python says of the same samples, however they came."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linftui.tui.chart.series import BLOCK_SIZE, Series

ODD = np.array([np.nan, np.inf, -np.inf, 0.0])


def samples(rng: np.random.Generator, size: int, start: float, odd: float) -> tuple[np.ndarray, np.ndarray]:
    """Rising x with repeats and holes, and y of which a share is not finite."""
    x = start + np.cumsum(rng.choice([0.0, 0.25, 1.0, 7.0], size))
    y = rng.normal(size=size)
    return x, np.where(rng.random(size) < odd, rng.choice(ODD, size), y)


@st.composite
def grown(draw: st.DrawFn) -> tuple[Series, list[float], list[float]]:
    """A series that grew by bunches and was cut now and then, beside lists that had the same done to them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    odd = draw(st.sampled_from([0.0, 0.1, 0.9]))
    series, xs, ys = Series(), list[float](), list[float]()
    for size in draw(st.lists(st.integers(0, 5 * BLOCK_SIZE), max_size=6)):
        x, y = samples(rng, size, xs[-1] if xs else rng.normal(), odd)
        series.extend(x, y)
        xs, ys = xs + x.tolist(), ys + y.tolist()
        if xs and rng.random() < 0.3:
            cut = float(rng.choice(xs))
            series.truncate(cut)
            kept = [k for k, value in enumerate(xs) if value < cut]
            xs, ys = [xs[k] for k in kept], [ys[k] for k in kept]
    return series, xs, ys


def same(found: float, wanted: list[float], choose: Callable[[list[float]], float]) -> bool:
    return bool(np.isnan(found)) if not wanted else found == choose(wanted)


@settings(max_examples=200, deadline=None)
@given(grown(), st.integers(1, 40), st.floats(-0.2, 1.0), st.floats(0.001, 1.3))
def test_columns_lose_nothing(
    grown: tuple[Series, list[float], list[float]], n: int, start: float, width: float
) -> None:
    series, xs, ys = grown
    span = xs[-1] - xs[0] + 1 if xs else 1.0
    low = (xs[0] if xs else 0.0) + start * span
    high = low + width * span
    if xs and n % 2:  # ends that a sample lies on
        low, high = min(low, xs[len(xs) // 2]), max(xs[len(xs) // 2], low + 0.25)
    columns = series.columns(low, high, n)
    edges = np.linspace(low, high, n + 1)
    for k in range(n):
        last = k == n - 1
        held = [
            y for x, y in zip(xs, ys, strict=True) if edges[k] <= x < edges[k + 1] or (last and x == high)
        ]
        finite = [y for y in held if np.isfinite(y)]
        assert same(columns.low[k], finite, min)
        assert same(columns.high[k], finite, max)
        assert columns.sampled[k] == bool(held)
        assert columns.infinite[k] == (np.inf in held)
        np.testing.assert_equal(columns.first[k], held[0] if held else np.nan)
        np.testing.assert_equal(columns.last[k], held[-1] if held else np.nan)
    outside = [[k for k, x in enumerate(xs) if x < low][-1:], [k for k, x in enumerate(xs) if x > high][:1]]
    for neighbour, index in zip((columns.before, columns.after), outside, strict=True):
        assert (neighbour is None) == (not index)
        if neighbour is not None:
            at, y = neighbour
            assert at == pytest.approx((xs[index[0]] - low) / (high - low) * n - 0.5)
            np.testing.assert_equal(y, ys[index[0]])


@settings(max_examples=100, deadline=None)
@given(grown())
def test_what_is_said_of_the_whole(grown: tuple[Series, list[float], list[float]]) -> None:
    series, xs, ys = grown
    finite = [y for y in ys if np.isfinite(y)]
    assert len(series) == len(xs)
    assert series.x.tolist() == xs
    np.testing.assert_equal(series.y.tolist(), ys)
    assert series.bounds == ((min(finite), max(finite)) if finite else None)
    assert series.has_infinity == (np.inf in ys)


def test_a_spike_among_a_million_shows_in_its_column() -> None:
    series, y = Series(), np.zeros(1_000_000)
    y[[123_456, 777_777]] = [9.0, -9.0]
    series.extend(np.arange(1_000_000), y)
    columns = series.columns(0.0, 1e6, 320)
    assert np.flatnonzero(columns.high).tolist() == [123_456 * 320 // 1_000_000]
    assert np.flatnonzero(columns.low).tolist() == [777_777 * 320 // 1_000_000]


def test_the_value_at_an_x_is_that_of_the_last_sample_up_to_it() -> None:
    series = Series()
    series.extend([1, 2, 2, 5], [10, 20, 21, 50])
    assert [series.at(x) for x in (0.9, 1.0, 1.9, 2.0, 4.9, 5.0, 99.0)] == [None, 10, 10, 21, 21, 50, 50]


def test_what_is_dropped_can_be_done_again() -> None:
    series = Series()
    series.extend([1, 2, 3], [1, 2, 3])
    series.truncate(2.0)
    series.extend([2, 4], [-2, -4])
    assert series.x.tolist() == [1, 2, 4]
    assert series.y.tolist() == [1, -2, -4]


@pytest.mark.parametrize(
    ("xs", "ys"),
    [([3, 2], [0, 0]), ([0.5], [0]), ([np.nan], [0]), ([np.inf], [0]), ([2, 3], [0]), ([[2]], [[0]])],
    ids=["falls", "falls behind the last", "NaN", "inf", "too few y", "a table"],
)
def test_x_that_cannot_be_placed_is_refused_and_changes_nothing(xs: list[float], ys: list[float]) -> None:
    series = Series()
    series.extend([0, 1], [5, 6])
    with pytest.raises(ValueError):
        series.extend(xs, ys)
    assert series.x.tolist() == [0, 1]


def moving_average(ys: list[float], weight: float) -> list[float]:
    """Sample by sample, as its definition says."""
    averages, average, count = [], 0.0, 0
    for y in ys:
        if np.isfinite(y):
            average, count = weight * average + (1 - weight) * y, count + 1
            averages.append(average / (1 - weight**count))
        else:
            averages.append(y)
    return averages


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 4 * BLOCK_SIZE), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.1, 0.6, 0.99, 0.9999]),
)
def test_smoothing_is_the_unbiased_moving_average_in_whatever_bunches(
    seed: int, sizes: list[int], weight: float
) -> None:
    rng, series = np.random.default_rng(seed), Series()
    for size in sizes:
        series.extend(*samples(rng, size, series.x[-1] if len(series) else 0.0, 0.1))
        if len(series) and rng.random() < 0.5:
            series.truncate(float(rng.choice(series.x)))
        smooth = series.smoothed(weight)
        np.testing.assert_equal(smooth.x, series.x)
        np.testing.assert_allclose(smooth.y, moving_average(series.y.tolist(), weight), rtol=1e-9, atol=1e-9)


def test_another_weight_smooths_anew() -> None:
    series = Series()
    series.extend([0, 1], [0, 1])
    assert series.smoothed(0.5).y.tolist() == pytest.approx([0, 2 / 3])
    assert series.smoothed(0.0).y.tolist() == [0, 1]
