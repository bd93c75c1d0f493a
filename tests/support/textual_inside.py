"""What the tests need of Textual that is not public: nothing else in them reaches into it."""

from typing import Any

from textual.app import App
from textual.strip import Strip


def screen_text(app: App[Any]) -> str:
    """All that can be read now."""
    return "\n".join(strip.text for strip in screen_strips(app))


def failure(app: App[Any]) -> Exception | None:
    """The error that has ended the app."""
    return app._exception


def screen_strips(app: App[Any]) -> list[Strip]:
    """The lines of the screen as they are painted now."""
    return app.screen._compositor.render_strips()
