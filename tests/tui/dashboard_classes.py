"""Every class of the dashboard that is Textual's kind, for tests of all of them."""

import importlib
import pkgutil

from textual.message_pump import MessagePump

import linftui.tui


def dashboard_classes() -> list[type[MessagePump]]:
    """Screens, widgets and the app, by name."""
    found = [
        value
        for module in pkgutil.walk_packages(linftui.tui.__path__, "linftui.tui.")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, type) and issubclass(value, MessagePump) and value.__module__ == module.name
    ]
    return sorted(found, key=lambda each: each.__qualname__)
