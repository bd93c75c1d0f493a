"""How values are written wherever they are shown."""

import math
import time

import pytest

from linftui import text


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "-"), (math.inf, "∞"), (-math.inf, "-∞"), (8.0, "8"), (68.371, "68.37"), (5e-4, "0.0005"),
     (1.234e-5, "1.234e-5"), (1e6, "1e6"), (0.0, "0"), (math.nan, "nan")],
)  # fmt: skip
def test_a_number_takes_few_digits(value: float | None, written: str) -> None:
    assert text.number(value) == written


@pytest.mark.parametrize("value", [1e308, -1e308, 1e300, 2.0**53, 1e15, -1e10, math.inf, -math.inf, math.nan])
def test_no_number_takes_more_room_than_a_real_one(value: float) -> None:
    written = [
        text.number(value), text.number(value, 3), text.decimal(value, 1), text.decimal(value, 4),
        text.age(value), text.stopwatch(value), text.clock(value),
        text.duration(value),
    ]  # fmt: skip
    assert max(map(len, written)) <= 11, written
    assert len(text.count(value)) <= 22  # 2^53 in full
    assert len(text.percent(value)) <= 5 and len(text.loss(value)) <= 10


def test_numbers_of_usual_size_are_written_out() -> None:
    assert (text.decimal(4294967296.0, 1), text.decimal(0.12345, 4)) == ("4294967296.0", "0.1235")
    assert [text.count(value) for value in (None, 36, 1234.6, 2**53)] == [
        "-", "36", "1,235", "9,007,199,254,740,992",
    ]  # fmt: skip
    assert (text.age(time.time() - 3 * 86400), text.age(1.0)[-1]) == ("3d", "d")


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert text.wilson(0.5, 100) == pytest.approx(0.0962, abs=5e-5)  # Wilson 1927: .4038 to .5962


@pytest.mark.parametrize(("share", "n"), [(-0.5, 10), (1.5, 10), (1e300, 10), (0.5, -10), (0.5, 0)])
def test_a_strangers_share_has_an_interval_too(share: float, n: int) -> None:
    assert 0 < text.wilson(share, n) <= 1


def test_a_loss_keeps_its_zeros() -> None:
    assert [text.loss(value) for value in (0.23, 1.08, 12.0, None, math.nan)] == [
        "0.2300", "1.080", "12.00", "-", "nan",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", [1e-12, 4.56e-4, 1.234e-3, 0.076924, 0.99996, 9.99999, 1234.5, 9999.7, 54321.0, 1e99]
)
def test_a_loss_fits_its_column_whole(value: float) -> None:
    written = text.loss(value)
    assert len(written) <= 6 and float(written) == pytest.approx(value, rel=0.2)


def test_accuracies_are_written_as_the_field_does() -> None:
    assert [text.accuracy(value) for value in (0.84171, 0.0, 1.0, None)] == [".8417", ".0000", "1.0000", "-"]
    assert [text.share(value) for value in (0.84171, 0.0, 1.0, None)] == ["0.8417", "0.0000", "1.0000", "-"]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(None, "-"), (-5.0, "0 s"), (40.0, "40 s"), (720.0, "12 min"), (3720.0, "1h02"), (100_800.0, "1d04h")],
)
def test_durations_are_written_as_people_say_them(seconds: float | None, written: str) -> None:
    assert text.duration(seconds) == written


def test_an_id_is_cut_in_its_middle() -> None:
    assert text.middle("digits-20261123-084723-16f1", 15) == "digits-…23-16f1"
    assert text.middle("short", 15) == "short" and text.middle("long", 2) == "lo"


def test_a_moment_that_is_none_is_not_written() -> None:
    assert text.time_of_day(1e300) == text.time_of_day(math.nan) == "--:--:--"


def test_shares_are_written_in_per_cent() -> None:
    shares = [None, math.nan, 0.0, 0.844, 1.0, 1.04]
    assert [text.percent(share) for share in shares] == ["-", "-", "0%", "84%", "100%", "104%"]


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf])
def test_a_length_of_time_that_is_none_is_not_written(seconds: float) -> None:
    assert text.clock(seconds) == text.duration(seconds) == "-"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "-"),
        (0, "0"),
        (9999, "9999"),
        (12_999, "12k"),
        (999_999, "999k"),
        (3_000_000, "3M"),
        (10**10, "10G"),
    ],
)
def test_a_whole_number_is_written_in_brief(value: int | None, written: str) -> None:
    assert text.brief(value) == written


def test_a_measured_time_is_written_like_a_stopwatch() -> None:
    assert [text.stopwatch(seconds) for seconds in (5.9, 123.0, 3723.0)] == ["0:05", "2:03", "1:02:03"]
