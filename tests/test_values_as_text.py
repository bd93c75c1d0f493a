"""How values are written wherever they are shown."""

import math
import time

import pytest

from linftui import text
from linftui.cli.render import duration


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
        text.age(value), duration(value),
    ]  # fmt: skip
    assert max(map(len, written)) <= 11, written
    assert len(text.count(value)) <= 22  # 2^53 in full


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
