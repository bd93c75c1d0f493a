"""What the tests need of Textual that is not public: nothing else in them reaches into it."""

from typing import Any

from textual.app import App


def screen_text(app: App[Any]) -> str:
    """All that can be read now."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def failure(app: App[Any]) -> Exception | None:
    """The error that has ended the app."""
    return app._exception
