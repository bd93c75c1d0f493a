"""A picture of character cells: curves as dots (Braille, blocks, ASCII), rules and text, each with an ink.

An ink is a small number whose meaning is up to the owner of the canvas; 0 is the ink of empty cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from rich.cells import cell_len

from linftui.tui.chart.trace import Trace

BLANK = ord(" ")
LineStyle = Literal["solid", "dashed", "dotted", "dash-dotted"]
# Which dots of a period of eight are drawn.
PATTERNS: dict[LineStyle, tuple[int, ...]] = {
    "solid": (1, 1, 1, 1, 1, 1, 1, 1),
    "dashed": (1, 1, 1, 1, 1, 0, 0, 0),
    "dotted": (1, 0, 1, 0, 1, 0, 1, 0),
    "dash-dotted": (1, 1, 1, 1, 0, 0, 1, 0),
}


@dataclass(frozen=True)
class Marker:
    """A way to draw dots with characters: `across` x `down` dots in a cell, and a glyph for each set.

    Bit `column * down + row` of a set is the dot in that place.
    """

    across: int
    down: int
    glyphs: npt.NDArray[np.uint32]


def _braille() -> str:
    # Unicode numbers the upper six dots column by column, then the lowest two.
    order = (0x01, 0x02, 0x04, 0x40, 0x08, 0x10, 0x20, 0x80)
    codes = (sum(code for bit, code in enumerate(order) if dots >> bit & 1) for dots in range(256))
    return "".join(chr(0x2800 + code) for code in codes)


def _codes(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


BRAILLE = Marker(2, 4, _codes(_braille()))
BLOCK = Marker(2, 2, _codes(" ▘▖▌▝▀▞▛▗▚▄▙▐▜▟█"))
ASCII = Marker(1, 3, _codes(" '-|.:||"))


ASCII_WORDS = {
    "∞": "inf",
    "–": "-",
    "—": "-",
    "·": "-",
    "…": "..",
    "λ": "lam",
    "≤": "<=",
    "≥": ">=",
    "×": "x",
}


@dataclass(frozen=True)
class Area:
    """A rectangle of cells."""

    row: int
    column: int
    height: int
    width: int

    @property
    def cells(self) -> tuple[slice, slice]:
        """Its slices in an array of rows."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)


@lru_cache(1024)
def plain(text: str) -> str:
    """Text from any source, in which each character takes one cell and has no other effect."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() and cell_len(c) == 1 else "\N{REPLACEMENT CHARACTER}" for c in text)


@lru_cache(1024)
def plain_ascii(text: str) -> str:
    """The same for terminals that show only ASCII."""
    known = text.translate({ord(c): word for c, word in ASCII_WORDS.items()})
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in known)


class Canvas:
    """`height` rows of `width` cells. What falls outside is not drawn."""

    def __init__(self, height: int, width: int, marker: Marker = BRAILLE) -> None:
        self.height, self.width, self.marker = height, width, marker
        self._glyphs = np.full((height, width), BLANK, np.uint32)
        self._inks = np.zeros((height, width), np.uint16)
        self._dots = np.zeros((height, width), np.uint8)
        self._soft = np.zeros((height, width), np.bool_)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def curve(
        self, area: Area, trace: Trace, ink: int, line: LineStyle = "solid", faint: bool = False
    ) -> None:
        """Draws a curve whose dots are counted from the area's upper left corner.

        Where curves meet in a cell, their dots are combined and the later curve's ink wins, except that a
        faint curve gives way to any other.
        """
        down, across = self.marker.down, self.marker.across
        if line == "dotted":  # only one dot in each column where it is flat
            flat = trace.bottom - trace.top <= 2
            trace = Trace(trace.top, np.where(flat, np.minimum(trace.top, trace.bottom), trace.bottom))
        first = (np.arange(area.height) * down)[:, None]
        top = np.clip(trace.top - first, 0, down)
        end = np.clip(trace.bottom + 1 - first, 0, down)
        sets = _RUNS[top, end]
        if line != "solid":
            sets &= _stencil(line, trace, area.height, down)
        dots = sets[:, 0::across].copy()
        for column in range(1, across):
            dots |= sets[:, column::across] << (column * down)
        hit = dots != 0
        before, soft = self._dots[area.cells], self._soft[area.cells]
        if faint:
            hit &= (before == 0) | soft
        np.copyto(before, np.where(soft & (not faint), dots, before | dots), where=hit)
        soft[hit] = faint
        self._inks[area.cells][hit] = ink
        self._glyphs[area.cells][hit] = self.marker.glyphs[before[hit]]

    def text(self, row: int, column: int, text: str, ink: int) -> int:
        """Writes text over what is there, one cell per character; returns the column after it."""
        codes = _codes(text.replace("…", "~") if self.marker is ASCII else text)
        end = column + len(codes)
        if 0 <= row < self.height:
            first, last = max(column, 0), min(end, self.width)
            if first < last:
                self._glyphs[row, first:last] = codes[first - column : last - column]
                self._inks[row, first:last] = ink
        return end

    def behind(self, area: Area, glyph: str, ink: int) -> None:
        """Fills the area's empty cells with a glyph: rules, the crosshair."""
        empty = self._glyphs[area.cells] == BLANK
        self._glyphs[area.cells][empty] = ord(glyph)
        self._inks[area.cells][empty] = ink

    def is_empty(self, area: Area) -> bool:
        """Whether the area lies on the canvas and nothing is drawn there."""
        inside = area.row >= 0 and area.column >= 0
        inside = inside and area.row + area.height <= self.height and area.column + area.width <= self.width
        return inside and bool((self._glyphs[area.cells] == BLANK).all())

    def runs(self, rows: Sequence[int]) -> list[list[tuple[str, int]]]:
        """Rows as stretches of one ink; an empty cell takes the ink of the cell before it."""
        rows, width = list(rows), self.width
        glyphs = self._glyphs[rows]
        last = np.maximum.accumulate(np.where(glyphs != BLANK, np.arange(width), 0), axis=1)
        inks = np.take_along_axis(self._inks[rows], last, axis=1)
        starts = np.empty(inks.shape, np.bool_)
        starts[:, :1] = True
        np.not_equal(inks[:, 1:], inks[:, :-1], out=starts[:, 1:])
        cuts = np.flatnonzero(starts)
        text = glyphs.astype("<u4").tobytes().decode("utf-32-le")
        found: list[list[tuple[str, int]]] = [[] for _ in rows]
        ends = np.append(cuts, len(text))[1:].tolist()
        for start, end, ink in zip(cuts.tolist(), ends, inks.ravel()[cuts].tolist(), strict=True):
            found[start // width].append((text[start:end], ink))
        return found

    def changes(self, before: "Canvas") -> list[tuple[int, int, int]]:
        """Where this differs from a canvas of the same size: (row, first column, column after the last)."""
        other = (self._glyphs != before._glyphs) | (self._inks != before._inks)
        rows = np.flatnonzero(other.any(axis=1))
        first = other[rows].argmax(axis=1)
        after = self.width - other[rows][:, ::-1].argmax(axis=1)
        return list(zip(rows.tolist(), first.tolist(), after.tolist(), strict=True))


def _runs_of_dots() -> npt.NDArray[np.uint8]:
    """A table whose entry [a, b] is the set of dots a .. b - 1 of a column of at most four."""
    table = [[sum(1 << dot for dot in range(a, b)) for b in range(5)] for a in range(5)]
    return np.array(table, np.uint8)


_RUNS = _runs_of_dots()


def _stencil(line: LineStyle, trace: Trace, height: int, down: int) -> npt.NDArray[np.uint8]:
    """The dots that a broken line keeps: by columns where it is flat, by rows where it is steep."""
    pattern = np.array(PATTERNS[line], np.bool_)
    columns = np.arange(len(trace.top))
    by_column = np.where(pattern[columns % len(pattern)], 0xFF, 0).astype(np.uint8)
    rows = pattern[np.arange(height * down) % len(pattern)].reshape(height, down)
    by_row = (rows << np.arange(down)).sum(axis=1).astype(np.uint8)
    return np.where(trace.bottom - trace.top > 2, by_row[:, None], by_column[None, :])
