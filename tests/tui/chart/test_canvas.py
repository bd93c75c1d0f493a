"""Dots on a canvas against a raster that plain Python fills dot by dot, and what ends up in the cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linftui.tui.chart.canvas import (
    ASCII,
    BLOCK,
    BRAILLE,
    Area,
    Canvas,
    LineStyle,
    Marker,
    plain,
    plain_ascii,
)
from linftui.tui.chart.series import Floats, Series
from linftui.tui.chart.trace import Trace, trace

MARKERS = {"braille": BRAILLE, "block": BLOCK, "ascii": ASCII}


def lines(canvas: Canvas) -> list[str]:
    return ["".join(text for text, _ in runs) for runs in canvas.runs(range(canvas.height))]


def inks(canvas: Canvas) -> list[list[int]]:
    return [[ink for text, ink in runs for _ in text] for runs in canvas.runs(range(canvas.height))]


def dots_of(canvas: Canvas) -> set[tuple[int, int]]:
    """The dots (row, column) that a person sees in Braille cells, by the Unicode standard's own numbering."""
    found = set()
    for row, line in enumerate(lines(canvas)):
        for column, glyph in enumerate(line):
            pattern = ord(glyph) - 0x2800 if glyph != " " else 0
            for bit, (x, y) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]):
                if pattern >> bit & 1:
                    found.add((row * 4 + y, column * 2 + x))
    return found


def spans(tops: list[int], bottoms: list[int]) -> Trace:
    return Trace(np.array(tops), np.array(bottoms))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 20), st.integers(-9, 20)), min_size=10, max_size=10))
def test_braille_shows_exactly_the_dots_within_the_area(ends: list[tuple[int, int]]) -> None:
    canvas = Canvas(5, 8)
    canvas.curve(Area(1, 2, 3, 5), spans(*map(list, zip(*ends, strict=True))), ink=1)
    wanted = {
        (4 + row, 4 + column)
        for column, (top, bottom) in enumerate(ends)
        for row in range(max(top, 0), min(bottom, 11) + 1)
    }
    assert dots_of(canvas) == wanted


def test_blocks_and_ascii_show_their_dots() -> None:
    block = Canvas(2, 3, BLOCK)
    block.curve(Area(0, 0, 2, 3), spans([0, 1, 2, 3, 0, 9], [0, 2, 2, 3, 3, -9]), ink=1)
    assert lines(block) == ["▚ ▌", "▝▚▌"]
    plain_text = Canvas(2, 7, ASCII)
    plain_text.curve(Area(0, 0, 2, 7), spans([0, 1, 2, 0, 3, 4, 2], [0, 1, 2, 2, 5, 4, 3]), ink=1)
    assert lines(plain_text) == ["'-.|  .", "    |-'"]


def test_every_set_of_dots_has_a_glyph_of_one_cell() -> None:
    for marker in MARKERS.values():
        assert len(marker.glyphs) == 2 ** (marker.across * marker.down)
        glyphs = [chr(code) for code in marker.glyphs.tolist()]
        assert [plain(glyph) for glyph in glyphs] == glyphs
    assert len(set(BRAILLE.glyphs.tolist())) == 256 and len(set(BLOCK.glyphs.tolist())) == 16
    assert all(chr(code).isascii() for code in ASCII.glyphs.tolist())


@pytest.mark.parametrize("marker", list(MARKERS.values()), ids=list(MARKERS))
@pytest.mark.parametrize("line", ["dashed", "dotted", "dash-dotted"])
def test_broken_lines_have_holes_and_differ_flat_and_steep(marker: Marker, line: LineStyle) -> None:
    def drawn(style: LineStyle, rising: bool) -> list[str]:
        canvas = Canvas(8, 8, marker)
        columns, rows = 8 * marker.across, 8 * marker.down
        top = [0] * columns if rising else [rows // 2] * columns
        canvas.curve(Area(0, 0, 8, 8), spans(top, [rows - 1] * columns if rising else top), 1, style)
        return lines(canvas)

    for rising in (False, True):
        pictures = {style: drawn(style, rising) for style in ("solid", line)}
        assert pictures["solid"] != pictures[line]
        assert any(text.strip() for text in pictures[line])


def test_where_curves_meet_dots_join_and_the_later_ink_wins() -> None:
    canvas = Canvas(1, 1)
    canvas.curve(Area(0, 0, 1, 1), spans([0, 0], [0, 0]), ink=1)
    canvas.curve(Area(0, 0, 1, 1), spans([3, 9], [3, -9]), ink=2)
    assert dots_of(canvas) == {(0, 0), (0, 1), (3, 0)}
    assert inks(canvas) == [[2]]


def test_a_faint_curve_gives_way_in_whichever_order() -> None:
    raw, smooth = spans([0, 0], [3, 3]), spans([1, 1], [1, 1])
    for first_faint in (True, False):
        canvas = Canvas(1, 2)
        for faint in (first_faint, not first_faint):
            canvas.curve(Area(0, 0, 1, 1), raw if faint else smooth, ink=2 if faint else 1, faint=faint)
        assert dots_of(canvas) == {(1, 0), (1, 1)}
        assert inks(canvas)[0][0] == 1


def test_rules_stand_behind_curves_and_text_before_them() -> None:
    canvas = Canvas(2, 4)
    canvas.curve(Area(0, 0, 1, 4), spans([0] * 8, [0] * 8), ink=1)
    canvas.behind(Area(0, 1, 2, 1), "│", ink=2)
    canvas.text(0, 2, "ab", ink=3)
    assert lines(canvas) == ["⠉⠉ab", " │  "]
    assert canvas.is_empty(Area(1, 2, 1, 2))
    assert not canvas.is_empty(Area(1, 1, 1, 2))
    assert not canvas.is_empty(Area(1, 2, 1, 3))  # beyond the edge


def test_text_is_cut_at_the_edges() -> None:
    canvas = Canvas(1, 4)
    assert canvas.text(0, -2, "abc", 1) == 1
    assert canvas.text(0, 3, "xyz", 1) == 6
    canvas.text(1, 0, "below", 1)
    canvas.text(-1, 0, "above", 1)
    assert lines(canvas) == ["c  x"]


def test_runs_are_few_and_cover_each_row() -> None:
    canvas = Canvas(2, 6)
    canvas.text(0, 0, "ab", 1)
    canvas.text(0, 4, "c", 1)
    canvas.text(0, 5, "d", 2)
    assert canvas.runs([0, 1]) == [[("ab  c", 1), ("d", 2)], [("      ", 0)]]
    assert canvas.runs([]) == []
    assert Canvas(2, 0).runs([0, 1]) == [[], []]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.sampled_from("ab "), st.integers(1, 2))))
def test_changes_are_where_cells_differ(writes: list[tuple[int, int, str, int]]) -> None:
    before, after = Canvas(4, 10), Canvas(4, 10)
    for canvas in (before, after):
        canvas.text(1, 2, "abc", 1)
    for row, column, glyph, ink in writes:
        after.text(row, column, glyph, ink)
    found = after.changes(before)
    old, new = (zip(lines(c), c._inks.tolist(), strict=True) for c in (before, after))
    wanted = []
    for row, ((text, ink), (text_before, ink_before)) in enumerate(zip(new, old, strict=True)):
        other = [k for k in range(10) if (text[k], ink[k]) != (text_before[k], ink_before[k])]
        if other:
            wanted.append((row, other[0], other[-1] + 1))
    assert found == wanted


def test_strangers_text_takes_a_cell_a_character_and_does_nothing() -> None:
    hostile = "a\x1b[31m\n\u202e日e\u0301\ud800λ[bold]"
    assert plain(hostile) == "a�[31m���e��λ[bold]"
    assert plain_ascii("p = ∞ · λ ≤ é\x1b") == "p = inf - lam <= ??"


def rows(values: Floats) -> Floats:
    """Row 9 for 0, row 0 for 9, and so on beyond; infinity far above."""
    return np.clip(9 - values, -1000, 1000)


def traced(xs: list[float], ys: list[float], n: int) -> Trace:
    """Of samples, n columns of width 1 from 0 on."""
    series = Series()
    series.extend(xs, ys)
    return trace(series.columns(0.0, float(n), n), rows)


def picture(xs: list[float], ys: list[float], n: int) -> list[str]:
    """The lower five rows of it."""
    found = traced(xs, ys, n)
    ends = list(zip(found.top.tolist(), found.bottom.tolist(), strict=True))
    return ["".join(".#"[top <= row <= bottom] for top, bottom in ends) for row in range(5, 10)]


def test_neighbours_are_joined_by_lines_that_share_the_way() -> None:
    assert picture([0.5, 1.5, 2.5], [0, 4, 4], 3) == [
        ".##",
        ".#.",
        "##.",
        "#..",
        "#..",
    ]


def test_lines_cross_columns_without_samples() -> None:
    assert picture([0.5, 4.5], [0, 4], 5) == [
        "....#",
        "...#.",
        "..#..",
        ".#...",
        "#....",
    ]


def test_lines_come_in_from_outside_and_leave() -> None:
    assert picture([-2.5, 7.5], [0.1, 5.1], 5) == [
        "....#",
        "..##.",
        "##...",
        ".....",
        ".....",
    ]
    assert picture([0.5, 6.5], [1, 1], 5)[3] == "#####"
    assert picture([6.5, 7.5], [1, 1], 5) == ["....."] * 5


def test_a_gap_is_not_crossed() -> None:
    nan = float("nan")
    assert picture([0.5, 1.5, 2.5, 3.5, 4.5], [1, 1, nan, 1, 1], 5)[3] == "##.##"
    assert picture([0.5, 0.9, 4.5], [1, nan, 1], 5)[3] == "#...#"


def test_a_column_shows_all_between_its_extremes_and_nothing_else() -> None:
    assert picture([0.1, 0.2, 0.3, 1.5], [1, 4, 1, 1], 2) == ["#.", "#.", "#.", "##", ".."]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 60))
def test_a_curve_without_gaps_is_one_piece_through_all_its_samples(seed: int, n: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    xs, ys = np.sort(rng.uniform(0, n, size)), rng.normal(scale=rng.choice([0.3, 5]), size=size)
    found = traced(xs.tolist(), ys.tolist(), n)
    for x, y in zip(xs, ys, strict=True):
        assert found.top[int(x)] <= np.rint(9 - y) <= found.bottom[int(x)]
    first, last = int(xs[0]), int(xs[-1])
    assert (found.top[first : last + 1] <= found.bottom[first : last + 1]).all()
    assert (found.top > found.bottom).sum() == n - (last - first + 1)
    for k in range(first, last):
        assert found.top[k] <= found.bottom[k + 1] + 1 and found.top[k + 1] <= found.bottom[k] + 1
    assert found.top.min() == np.rint(9 - ys.max())
    assert found.bottom.max() == np.rint(9 - ys.min())
