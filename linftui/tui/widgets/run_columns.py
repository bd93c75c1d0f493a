"""The columns of the table of runs: what each shows, how it sorts, and which of them fit into a width."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual.content import Content

from linftui.devices import Gpu
from linftui.rundir.store import RunSummary
from linftui.text import accuracy, age, brief, clean, duration, loss, middle, number
from linftui.tui.live.run_list import RunRow
from linftui.tui.text import bar, device_names
from linftui.tui.theme import STATES, state_look

NAME_AT_LEAST, NAME_AT_MOST = 12, 44
EPOCH = 9  # cells for the epochs done and the epochs planned


@dataclass(frozen=True)
class CellContext:
    """What cells need beside the run: the time, and this machine's GPUs."""

    now: float = 0.0
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column: its title, its width in cells (0: what is left), and the table width it needs to appear."""

    name: str
    title: str
    width: int
    cell: Callable[[RunRow, CellContext], Content | str]
    key: Callable[[RunSummary], Any] | None  # the sort key, smallest first; None: not sortable
    from_width: int = 0
    right: bool = True
    descending: bool = False  # when it is first sorted by


def _state(row: RunRow, _: CellContext) -> Content:
    glyph, word, colour = state_look(row.summary.state)
    return Content.assemble((f"{glyph} {word}", colour))


def _epoch(row: RunRow, _: CellContext) -> str:
    done, epochs = row.summary.epoch, row.summary.epochs
    shown = "-" if done is None else str(done)
    wordings = [f"{shown}/{epochs or '-'}", f"{shown}/{brief(epochs)}", f"{brief(done)}/{brief(epochs)}"]
    return next((text for text in wordings if len(text) <= EPOCH), wordings[-1])


def share_done(run: RunSummary) -> float | None:
    """The share of its epochs that a run has done, in [0, 1]."""
    return run.epoch / run.epochs if run.epoch is not None and run.epochs else None


def _progress(row: RunRow, _: CellContext) -> Content:
    colour = state_look(row.summary.state)[2]
    return bar(share_done(row.summary), 8, colour if row.active else "$faint")


def _certified(row: RunRow, _: CellContext) -> Content:
    return Content.styled(accuracy(row.summary.certified_accuracy), "$bright bold")


def _eta(row: RunRow, context: CellContext) -> str:
    eta = row.eta(context.now)
    return duration(eta) if eta is not None else ""


def _p(row: RunRow, _: CellContext) -> str:
    return number(row.summary.p, 3)


def _devices(row: RunRow, context: CellContext) -> str:
    return device_names(row.devices, context.gpus)


def _age(row: RunRow, context: CellContext) -> str:
    return age(row.summary.created, context.now)


def _ordered(value: float | None) -> tuple[bool, float]:
    """A sort key that puts unknown values first, and therefore last in descending order."""
    known = value is not None and not math.isnan(value)
    return known, value if known and value is not None else 0.0


_STATE_ORDER = {state: place for place, state in enumerate(STATES)}

COLUMNS = (
    Column("state", "state", 10, _state, lambda run: _STATE_ORDER[run.state or "damaged"], right=False),
    Column("name", "run", 0, lambda row, _: clean(row.summary.id), lambda run: run.id, right=False),
    Column(
        "recipe", "recipe", 14, lambda row, _: clean(row.summary.recipe or "-"),
        lambda run: run.recipe or "", from_width=136, right=False,
    ),
    Column("progress", "", 8, _progress, None, from_width=98, right=False),
    Column("epoch", "epoch", EPOCH, _epoch, lambda run: _ordered(share_done(run)), descending=True),
    Column("eta", "eta", 6, _eta, None, from_width=106),
    Column("p", "p", 5, _p, lambda run: _ordered(run.p), descending=True),
    Column("loss", "loss", 6, lambda row, _: loss(row.summary.loss), lambda run: _ordered(run.loss)),
    Column(
        "certified", "certified", 10, _certified,
        lambda run: _ordered(run.certified_accuracy), descending=True,
    ),
    Column(
        "clean", "clean", 6, lambda row, _: accuracy(row.summary.clean_accuracy),
        lambda run: _ordered(run.clean_accuracy), descending=True,
    ),
    Column("eps", "eps", 6, lambda row, _: clean(row.summary.eps_exact or "-"), None, from_width=150),
    Column("devices", "devices", 7, _devices, None, from_width=114, right=False),
    Column("age", "age", 4, _age, lambda run: (run.created or 0.0, run.id), descending=True),
)  # fmt: skip

SORTABLE = tuple(column for column in COLUMNS if column.key is not None)


def columns_for(width: int) -> list[tuple[Column, int]]:
    """The columns of a table of `width` cells, with their widths."""
    shown = [column for column in COLUMNS if width >= column.from_width]
    rest = width - sum(column.width for column in shown) - gap_for(width) * (len(shown) - 1)
    name = min(max(rest, NAME_AT_LEAST), NAME_AT_MOST)
    return [(column, column.width or name) for column in shown]


def gap_for(width: int) -> int:
    """Cells between columns."""
    return 2 if width >= 90 else 1


def sized_cell(cell: Content | str, width: int, *, right: bool) -> Content:
    """A table cell padded or cut to `width` character cells; long text is cut in the middle."""
    if isinstance(cell, str):
        cell = Content(middle(cell, width))
    cell = cell.truncate(width, ellipsis=True)
    missing = width - cell.cell_length
    return cell.pad_left(missing) if right else cell.pad_right(missing)
