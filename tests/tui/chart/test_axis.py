"""Axes that people can read: ranges that hold the data, round ticks, short labels, outliers told of."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linftui.tui.chart.axis import Scale, compact, labels, scale_for, ticks, without_outliers

SIZES = [10.0**k for k in range(-12, 13)]
UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def read(label: str) -> float:
    """The number that a person reads in a label."""
    if label[-1] in UNITS:
        return float(label[:-1]) * UNITS[label[-1]]
    return float(label)


def finite(least: float = -1e12) -> st.SearchStrategy[float]:
    return st.floats(least, 1e12, allow_subnormal=False)


@settings(deadline=None)
@given(st.lists(finite(), max_size=9), st.booleans())
def test_a_fitted_range_holds_all_that_can_be_shown_and_little_more(values: list[float], log: bool) -> None:
    scale = scale_for(values, log)
    shown = [v for v in values if v > 1e-299 or not log]
    assert scale.low < scale.high and scale.log == log
    assert all(-1e-6 <= share <= 1 + 1e-6 for share in scale.places(np.array(shown, float)))
    if len(set(shown)) > 1 and not log and max(shown) - min(shown) > 1e-5 * max(map(abs, shown)):
        assert scale.high - scale.low <= 1.11 * (max(shown) - min(shown))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [[], [0], [3], [-3], [3, 3, 3], [math.nan], [math.inf, -math.inf], [0, 0], [-2, -1], [1e300, -1e300],
     [1.7e308, -1.7e308], [5e-324], [1, 1 + 1e-15]],
    ids=str,
)  # fmt: skip
def test_odd_data_has_an_axis_too(values: list[float], log: bool) -> None:
    scale = scale_for(np.array(values, float), log)
    assert math.isfinite(scale.low) and scale.low < scale.high < math.inf
    for count in (1, 2, 3, 9):
        marks = ticks(scale, count)
        assert len(set(labels(marks, log))) == len(marks) >= 2


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SIZES), st.floats(-3, 3), st.floats(0.1, 10), st.integers(2, 12))
def test_linear_ticks_are_round_within_the_range_and_told_apart(
    size: float, start: float, width: float, count: int
) -> None:
    scale = scale_for([start * size, (start + width) * size])
    marks = ticks(scale, count)
    texts = labels(marks)
    assert 2 <= len(marks) <= count
    assert len(set(texts)) == len(texts)
    slack = 1e-6 * (scale.high - scale.low)
    assert scale.low - slack <= marks[0] and marks[-1] <= scale.high + slack
    step = marks[1] - marks[0]
    if len(marks) > 2:
        assert np.diff(marks) == pytest.approx(step)
        assert f"{step:.4e}".split("e")[0] in ("1.0000", "2.0000", "2.5000", "5.0000")
    for mark, text in zip(marks, texts, strict=True):
        assert read(text) == pytest.approx(mark, abs=0.02 * step)
        assert len(text) <= 10  # -1.125e-12


def test_log_ticks_from_1e_12_to_1e12_are_powers_of_ten_in_few_letters() -> None:
    for (low, high), count in itertools.product(itertools.combinations(SIZES, 2), (2, 3, 5, 9)):
        marks = ticks(Scale(low, high, log=True), count)
        texts = labels(marks, log=True)
        assert 2 <= len(marks) <= count
        assert low * 0.999 <= marks[0] and marks[-1] <= high * 1.001
        assert [read(text) for text in texts] == pytest.approx(marks)
        assert max(map(len, texts)) <= 5
        if len(marks) > 2 and high >= 1000 * low:
            steps = np.log10(marks)
            assert steps == pytest.approx(np.rint(steps))
            assert np.diff(steps, n=2) == pytest.approx(0)


def test_quarters_are_ticks_where_they_cost_no_digit() -> None:
    assert ticks(Scale(0.0, 1.0), 5) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert ticks(Scale(0.0, 800.0), 4) == [0.0, 250.0, 500.0, 750.0]
    assert ticks(Scale(10800.0, 12000.0), 5) == [11000.0, 11500.0, 12000.0]
    assert ticks(Scale(0.0, 0.1), 5) == [0.0, 0.05, 0.1]


def test_labels_are_short() -> None:
    assert labels([0.0, 0.25, 0.5, 0.75, 1.0]) == [".00", ".25", ".50", ".75", "1.0"]
    assert labels([0.1, 0.2, 0.3]) == [".10", ".20", ".30"]
    assert labels([0.975, 1.0]) == [".975", "1.00"]
    assert labels([-1.0, -0.5, 0.0]) == ["-1.0", "-.5", "0"]
    assert labels([0.0, 500.0, 1000.0]) == ["0", "500", "1k"]
    assert labels([0.0, 20000.0, 60000.0]) == ["0", "20k", "60k"]
    assert labels([1100.0, 1200.0]) == ["1.1k", "1.2k"]
    assert labels([10.0, 100.0, 1000.0], log=True) == ["10", "100", "1k"]
    assert labels([0.001, 0.01, 0.1], log=True) == [".001", ".01", ".1"]
    assert labels([1e-5, 1e-4], log=True) == ["1e-5", "1e-4"]
    assert labels([1e6, 2.5e6]) == ["1M", "2.5M"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2263, ".2263"), (68.9, "68.9"), (11840, "11.84k"), (0.001, ".001"), (0.00092, "9.2e-4"), (0.0, "0"),
     (math.inf, "∞"), (-math.inf, "-∞"), (math.nan, "–"), (None, "–"), (-0.5, "-.5"), (1.08, "1.08"),
     (9999.6, "10k"), (0.99999, "1"), (1e18, "1e18"), (123456789, "123.5M"), (1300, "1300")],
)  # fmt: skip
def test_a_value_in_few_characters(value: float | None, text: str) -> None:
    assert compact(None if value is None else float(value)) == text


@settings(deadline=None)
@given(st.floats(-1e307, 1e307, allow_subnormal=False), st.integers(1, 12))
def test_a_compact_value_is_right_to_its_digits_and_no_longer_than_needed(value: float, digits: int) -> None:
    text = compact(value, digits)
    assert read(text) == pytest.approx(value, rel=0.51 * 10.0 ** (1 - digits), abs=0)
    assert len(text) <= max(digits, 4) + 8


@settings(deadline=None)
@given(finite(1e-12), st.floats(1.001, 1e6), st.booleans(), st.floats(0, 1))
def test_a_share_of_the_range_is_the_place_of_its_value(
    low: float, ratio: float, log: bool, share: float
) -> None:
    scale = Scale(low, low * ratio, log)
    assert scale.place(scale.value(share)) == pytest.approx(share, abs=1e-6)
    assert scale.value(0.0) == pytest.approx(scale.low) and scale.value(1.0) == pytest.approx(scale.high)


def test_what_a_log_axis_cannot_show_is_below_all_and_infinity_above() -> None:
    places = Scale(0.1, 10.0, log=True).places(np.array([0.0, -1.0, np.nan, np.inf, 1.0]))
    assert places[:2].tolist() == [-np.inf, -np.inf]
    assert np.isnan(places[2])
    assert places[3:].tolist() == [np.inf, 0.5]


@pytest.mark.parametrize("log", [False, True])
def test_zoom_keeps_the_place_it_is_around_and_ends_where_numbers_do(log: bool) -> None:
    scale = Scale(1.0, 100.0, log)
    kept = scale.value(0.25)
    assert scale.zoomed(4.0, 0.25).value(0.25) == pytest.approx(kept)
    assert scale.zoomed(4.0, 0.25).zoomed(0.25, 0.25).low == pytest.approx(scale.low)
    assert scale.panned(0.5).panned(-0.5).high == pytest.approx(scale.high)
    for factor in (10.0, 0.1):
        far = scale
        for _ in range(400):
            far = far.zoomed(factor, 0.5)
        assert math.isfinite(far.low) and far.low < far.high < math.inf
        assert len(set(labels(ticks(far, 5), log))) >= 2


def test_outliers_are_left_out_and_told_of() -> None:
    values = np.concatenate([np.linspace(1, 2, 100), [50.0]])
    kept, above, below = without_outliers(values, np.array([1.5]))
    assert (kept.max(), above, below) == (2.0, True, False)
    kept, above, below = without_outliers(-values, np.array([-1.5]))
    assert (kept.min(), above, below) == (-2.0, False, True)


def test_what_is_not_far_or_is_news_is_no_outlier() -> None:
    values = np.concatenate([np.linspace(1, 2, 100), [4.0]])
    assert without_outliers(values, np.array([1.0]))[1:] == (False, False)
    rising = np.concatenate([np.linspace(1, 2, 100), [50.0]])
    kept, above, below = without_outliers(rising, np.array([50.0]))
    assert (kept.max(), above, below) == (50.0, False, False)
    flat = np.concatenate([np.ones(100), [50.0]])
    assert without_outliers(flat, np.array([1.0]))[0].max() == 50.0
    few = np.array([1.0, 1.1, 50.0])
    assert without_outliers(few, np.array([1.0]))[0].max() == 50.0
    log = 10.0 ** np.concatenate([np.linspace(0, 3, 100), [5.0]])
    assert without_outliers(log, np.array([1.0]), log=True)[1:] == (False, False)
