"""The panel beside the table: whatever a run was made from is told whole, over as many lines as it takes."""

import os
import time
from pathlib import Path

import pytest
from support.forgeries import edit
from support.person import append

from linftui.rundir.paths import RunPaths
from linftui.rundir.records import EventRecord
from linftui.tui.live.run_facts import read_facts
from linftui.tui.live.run_list import read_row
from linftui.tui.widgets.side_panel import SidePanel, break_text

WIDTH = 36  # as it has beside the table
OVERRIDES = [f"data.augment.crop_padding={number}" for number in range(20)] + [
    "evaluation.reestimate_means=true"
]


@pytest.fixture
def lines(runs: Path) -> list[str]:
    """All lines about a run with many overrides, a long name, and a recipe from far away."""
    paths = RunPaths((runs / "tiny-run").rename(runs / ("a-name-that-is-" * 5 + "long")))
    edit(
        paths.meta, overrides=OVERRIDES, recipe_source="/home/somebody/a/folder/far/away/of/mine/recipe.yaml"
    )
    warning = EventRecord(attempt=1, step=1, time=0.0, event="warning", message="word " * 20 + "end")
    append(paths.events, warning)
    panel = SidePanel()
    panel.show(read_row(paths), read_facts(paths), time.time())
    lines = panel.make_lines(WIDTH, 200)
    assert [line.plain for line in panel.make_lines(WIDTH, 30)] == [
        *(line.plain for line in lines[:29]), "… the run's recipe has every value"
    ]  # fmt: skip
    assert all(line.cell_length <= WIDTH for line in lines)
    return [line.plain for line in lines]


def test_every_override_is_told_with_its_value(lines: list[str]) -> None:
    told = "".join(line[11:] for line in lines)
    for override in OVERRIDES:
        assert override in told
    assert sum(line.startswith("changed") for line in lines) == 1
    assert "           means=true" in lines  # broken before a part of the name


def test_what_happened_a_long_name_and_a_path_are_told_to_their_ends(lines: list[str]) -> None:
    assert any(line.rstrip().endswith("word end") for line in lines)
    assert "".join(lines).startswith("a-name-that-is-" * 5 + "long")
    assert any(line.rstrip().endswith("recipe.yaml") for line in lines)


@pytest.mark.parametrize(("written_s_ago", "told"), [(7200, "2h ago"), (-7200, "-")])
def test_a_run_that_says_the_future_is_as_old_as_its_file(runs: Path, written_s_ago: int, told: str) -> None:
    paths = RunPaths(runs / "tiny-run")
    edit(paths.meta, created=time.time() + 1e6)
    os.utime(paths.meta, (time.time() - written_s_ago,) * 2)
    panel = SidePanel()
    panel.show(read_row(paths), read_facts(paths), time.time())
    [line] = [line.plain for line in panel.make_lines(60, 200) if line.plain.startswith("started")]
    assert line.split(maxsplit=1)[1].startswith(told)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("short", ["short"]),
        ("", []),
        ("optimizer.lr=0.02", ["optimizer.", "lr=0.02"]),
        ("x" * 25, ["x" * 10, "x" * 10, "x" * 5]),
    ],
)
def test_text_is_broken_where_it_may_be(text: str, parts: list[str]) -> None:
    assert break_text(text, 10) == parts
