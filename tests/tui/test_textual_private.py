"""What linftui and its tests use of Textual's inside is there, and does what they use it for."""

import asyncio
import inspect
import re
from functools import cache

import pytest
from dashboard_classes import dashboard_classes
from support.textual_inside import failure, screen_text
from textual import on
from textual.app import App, ComposeResult
from textual.message_pump import MessagePump
from textual.notifications import Notify
from textual.widgets import Static
from textual.widgets._toast import Toast

from linftui.tui.textual_private import make_room_for


class Small(App[None]):
    """An app with a text, that tells things."""

    def compose(self) -> ComposeResult:
        yield Static("a text")

    @on(Notify)
    def _make_room(self, message: Notify) -> None:
        make_room_for(self, message.notification, 2)


@cache
def private_names(kind: type) -> set[str]:
    """What one of Textual's own classes keeps for itself; of any other class nothing."""
    if not kind.__module__.startswith("textual."):
        return set()
    methods = {name for name in vars(kind) if re.fullmatch(r"_[a-z]\w*", name)}
    return methods | set(re.findall(r"self\.(_[a-z]\w*)", inspect.getsource(kind)))


@pytest.mark.parametrize("found", dashboard_classes(), ids=lambda found: found.__qualname__)
def test_nothing_else_uses_or_hides_what_is_private_in_textual(found: type[MessagePump]) -> None:
    private = {name for base in found.__mro__ for name in private_names(base)}
    own = inspect.getsource(found)
    assert private and not private & set(re.findall(r"(?:\.|def )(_[a-z]\w*)", own))


def test_room_is_made_for_a_sentence_before_it_is_shown() -> None:
    async def act() -> None:
        app = Small()
        async with app.run_test(size=(60, 20), notifications=True) as pilot:
            for text in ("one", "two", "three", "two"):
                app.notify(text)
            await pilot.pause(0.2)
            shown = screen_text(app)
            assert "one" not in shown and 0 < shown.index("three") < shown.index("two")
            assert len(app.screen.query(Toast)) == 2

    asyncio.run(act())


def test_what_is_on_the_screen_can_be_read() -> None:
    async def act() -> None:
        app = Small()
        async with app.run_test(size=(20, 3)) as pilot:
            await pilot.pause()
            assert [line.rstrip() for line in screen_text(app).splitlines()] == ["a text", "", ""]
            assert failure(app) is None

    asyncio.run(act())


def test_an_error_that_ends_the_app_is_known() -> None:
    class Failing(Small):
        def on_mount(self) -> None:
            raise ZeroDivisionError("a bug")

    async def act() -> None:
        app = Failing()
        try:
            async with app.run_test():
                pass
        finally:
            assert isinstance(failure(app), ZeroDivisionError)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(act())
