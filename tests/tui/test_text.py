"""How values are written on the dashboard."""

import math

import pytest

from linftui.devices import Gpu
from linftui.tui import text


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


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(None, "-"), (-5.0, "0 s"), (40.0, "40 s"), (720.0, "12 min"), (3720.0, "1h02"), (100_800.0, "1d04h")],
)
def test_durations_are_written_as_people_say_them(seconds: float | None, written: str) -> None:
    assert text.duration(seconds) == written


def test_an_id_is_cut_in_its_middle() -> None:
    assert text.middle("digits-20261123-084723-16f1", 15) == "digits-…23-16f1"
    assert text.middle("short", 15) == "short" and text.middle("long", 2) == "lo"


@pytest.mark.parametrize("share", [None, math.nan, -1.0, 0.0, 0.26, 0.5, 1.0, 7.0])
def test_a_bar_has_its_width_whatever_the_share(share: float | None) -> None:
    bar = text.bar(share, 10)
    assert bar.cell_length == 10
    style = {span.style for span in bar.spans if span.end > span.start}
    assert ("$accent" in style) == (share is not None and share > 0)


def test_devices_are_named_in_brief() -> None:
    here = (Gpu(index=0, uuid="GPU-a", name=""), Gpu(index=3, uuid="GPU-b", name=""))
    assert text.device_names(("cpu",)) == "cpu" and text.device_names(("cpu", "cpu")) == "cpu ×2"
    assert text.device_names(("GPU-a", "GPU-b"), here) == "gpu 0,3"
    assert text.device_names(("GPU-x", "GPU-y"), here) == "gpu ×2" and text.device_names(()) == "-"


def test_a_moment_that_is_none_is_not_written() -> None:
    assert text.time_of_day(1e300) == text.time_of_day(math.nan) == "--:--:--"


@pytest.mark.parametrize("value", [1e308, -1e308, 1e300, 2.0**53, math.inf, -math.inf, math.nan])
def test_no_number_takes_more_room_than_a_real_one(value: float) -> None:
    assert len(text.percent(value)) <= 5 and len(text.loss(value)) <= 10
    assert len(text.clock(value)) <= 11 and len(text.duration(value)) <= 11


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
