"""The legend: one or more lines of `marker name value note`, shortened to the width available."""

from collections.abc import Sequence
from dataclasses import dataclass

from linftui.tui.chart.curve import Curve

# From roomy to tight: the longest name, whether notes are written out, and whether values are shown.
_FORMS = (
    (80, True, True),
    (24, False, True),
    (12, False, True),
    (6, False, True),
    (6, False, False),
    (4, False, False),
)
GAP = 2


@dataclass(frozen=True)
class Entry:
    """One curve in the legend; its texts have no spaces around them."""

    curve: Curve
    name: str
    value: str
    note: str

    @property
    def width(self) -> int:
        """Cells of the entry, with its marker and the spaces between its parts."""
        return 1 + sum(1 + len(text) for text in (self.name, self.value, self.note) if text)


@dataclass(frozen=True)
class Legend:
    """Entries laid out in rows."""

    rows: tuple[tuple[Entry, ...], ...]

    @property
    def widths(self) -> list[int]:
        """Cells of each row."""
        return [_length(row) for row in self.rows]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries in order."""
        return tuple(entry for row in self.rows for entry in row)


def lay_out(
    named: Sequence[tuple[Curve, str]], inline: int, width: int, most_rows: int
) -> tuple[Legend, bool]:
    """Lays out curves and their values; returns the legend, and whether it is in the title's line.

    `inline` cells are free beside the title; otherwise there are up to `most_rows` rows of `width` cells. If
    even the shortest form does not fit, entries are dropped from the end.
    """
    if len(named) == 1 and not named[0][0].note and named[0][1]:
        # The title names a single curve, so its value can stand there alone.
        entry = Entry(named[0][0], "", named[0][1], "")
        if _length([_entry(*named[0], *_FORMS[0][:2])]) > inline >= entry.width:
            return Legend(((entry,),)), True
    for longest, notes, values in _FORMS:
        entries = [_entry(curve, value if values else "", longest, notes) for curve, value in named]
        legend, in_title = _placed(entries, inline, width, most_rows)
        if len(legend.entries) == len(entries):
            break
    return legend, in_title


def shortened(text: str, longest: int) -> str:
    """Text of at most `longest` characters; one that was cut ends in an ellipsis."""
    return text if len(text) <= longest else text[: max(longest - 1, 0)] + "…"[: max(longest, 0)]


def _placed(entries: list[Entry], inline: int, width: int, most_rows: int) -> tuple[Legend, bool]:
    while entries:
        if _length(entries) <= inline:
            return Legend((tuple(entries),)), True
        rows = _wrapped(entries, width)
        if rows is not None and len(rows) <= most_rows:
            return Legend(rows), False
        entries = entries[:-1]
    return Legend(()), False


def _entry(curve: Curve, value: str, longest: int, notes: bool) -> Entry:
    note = curve.note if notes else curve.short_note or curve.note
    return Entry(curve, shortened(curve.name, longest), value, note)


def _length(entries: Sequence[Entry]) -> int:
    return sum(entry.width for entry in entries) + GAP * (len(entries) - 1)


def _wrapped(entries: Sequence[Entry], width: int) -> tuple[tuple[Entry, ...], ...] | None:
    """The entries in rows, or None if one is wider than a row."""
    rows: list[list[Entry]] = []
    for entry in entries:
        if entry.width > width:
            return None
        if rows and _length([*rows[-1], entry]) <= width:
            rows[-1].append(entry)
        else:
            rows.append([entry])
    return tuple(map(tuple, rows))
