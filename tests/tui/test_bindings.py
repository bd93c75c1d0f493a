"""The table of keys: complete, without clashes, and the one source of help and palette."""

from collections import Counter
from typing import cast

import pytest
from textual.binding import Binding
from textual.widget import Widget

from linftui.tui.bindings import COMMANDS, commands_of, textual_bindings
from linftui.tui.chart.chart import Chart
from linftui.tui.screens.base import CommandScreen
from linftui.tui.screens.modal import sections
from linftui.tui.screens.run import RunScreen
from linftui.tui.screens.runs import RunsScreen
from linftui.tui.screens.text import TextScreen, TextView
from linftui.tui.widgets.run_table import RunTable

SCREENS: list[type[CommandScreen]] = [RunsScreen, RunScreen, TextScreen]


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_can_do_what_its_keys_promise(screen: type[CommandScreen]) -> None:
    for command in commands_of(screen.NAME):
        assert callable(getattr(screen, f"do_{command.name}"))


@pytest.mark.parametrize("screen", SCREENS)
def test_no_key_means_two_things(screen: type[CommandScreen]) -> None:
    keys = Counter(key for command in commands_of(screen.NAME) for key in command.keys.split(","))
    assert max(keys.values()) == 1
    assert len(textual_bindings(screen.NAME)) == len(keys)


@pytest.mark.parametrize(("widget", "screen"), [(Chart, "run"), (RunTable, "runs"), (TextView, "text")])
def test_what_is_in_focus_takes_no_key_of_its_screen(widget: type[Widget], screen: str) -> None:
    own = {key for binding in widget.BINDINGS for key in cast(Binding, binding).key.split(",")}
    assert not own & {key for command in commands_of(screen) for key in command.keys.split(",")}


def test_every_command_is_helped_with() -> None:
    told = {sentence for _, keys in sections() for _, sentence in keys}
    assert {command.help for command in COMMANDS} <= told
    assert {screen.NAME for screen in SCREENS} == {name for command in COMMANDS for name in command.screens}
