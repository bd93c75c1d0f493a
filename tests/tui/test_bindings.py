"""The table of keys: complete, without clashes, and the one source of help, palette and what keys do."""

import inspect
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from dashboard_classes import dashboard_classes

from linftui.rundir.paths import RunPaths
from linftui.tui.app import Dashboard
from linftui.tui.bindings import COMMANDS, Keyed, commands_of, help_sections, textual_bindings
from linftui.tui.live.run_list import read_row
from linftui.tui.places import Place

CLASSES = dashboard_classes()
KEYED = [found for found in CLASSES if "PLACE" in vars(found)]
RUN = Path(__file__).parents[1] / "fixtures" / "first" / "whole"
PLACES: tuple[Place, ...] = get_args(Place)


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__qualname__)
def test_every_key_of_a_class_comes_from_the_table(found: type[object]) -> None:
    own = vars(found).get("BINDINGS", [])
    if "PLACE" in vars(found):
        assert issubclass(found, Keyed) and own
        assert own == textual_bindings(found.PLACE, priority=issubclass(found, Dashboard))
    else:
        assert own == []
    outside = [name for name in vars(found) if name in ("on_key", "_on_key") or name.startswith("key_")]
    assert outside == []


def test_every_place_has_somebody_whose_keys_are_its_own() -> None:
    assert {found.PLACE for found in KEYED if issubclass(found, Keyed)} == set(PLACES)
    assert {place for command in COMMANDS for place in command.places} == set(PLACES)


class Stand:
    """Stands where a key acts: notes which methods of a class are called, and has only those that it has."""

    def __init__(self, kind: type, **known: object) -> None:
        self.kind, self.called = kind, list[str]()
        vars(self).update(known)

    def __getattr__(self, name: str) -> Callable[..., None]:
        signature = inspect.signature(getattr(self.kind, name))

        def call(*values: object, **named: object) -> None:
            signature.bind(self, *values, **named)
            self.called.append(name)

        return call


@pytest.mark.parametrize("found", KEYED, ids=lambda found: found.__qualname__)
def test_every_key_does_something_that_its_place_can_do(found: type[Keyed]) -> None:
    row = read_row(RunPaths(RUN))
    for command in commands_of(found.PLACE):
        for key, does in command.keys.items():
            host = Stand(Dashboard)
            place = Stand(found, host=host, row=row, standing=None)
            does(place)
            assert place.called or host.called, f"{found.__qualname__}: {key}"


@pytest.mark.parametrize("place", PLACES)
def test_no_key_means_two_things(place: Place) -> None:
    keys = Counter(key for command in commands_of(place) for key in command.keys)
    assert max(keys.values()) == 1 and len(textual_bindings(place)) == len(keys)
    assert max(Counter(command.name for command in commands_of(place)).values()) == 1


@pytest.mark.parametrize(("inner", "screen"), [("chart", "run"), ("table", "runs"), ("lines", "text")])
def test_what_is_in_focus_takes_no_key_of_its_screen(inner: Place, screen: Place) -> None:
    taken = {key for command in commands_of(inner) for key in command.keys}
    assert not taken & {key for command in commands_of(screen) for key in command.keys}


def test_every_command_is_helped_with() -> None:
    told = {told for _, keys in help_sections() for told in keys}
    assert told == {(command.shown, command.help) for command in COMMANDS}
