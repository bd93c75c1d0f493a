"""The line of keys at the bottom; keys that are refused now stay there, dimmed."""

from collections.abc import Callable
from typing import Any

from textual.content import Content

from linftui.tui.bindings import Command
from linftui.tui.widgets.lines import LinesWidget, spread

# Commands, their current labels, and whether each would do something now.
Available = list[tuple[Command[Any], str, bool]]


class KeyBar(LinesWidget):
    """The keys of its screen, as many as there is room for; `?` shows the rest."""

    def __init__(self, available: Callable[[], Available], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._available = available

    def make_lines(self, width: int, height: int) -> list[Content]:
        """One line; help and quit keep their place at its right end."""
        keys = [
            (command.footer, _key(command.shown, label, possible))
            for command, label, possible in self._available()
        ]
        last = Content("  ").join(part for footer, part in keys if footer == "last")
        line = Content.empty()
        for footer, part in keys:
            if footer == "last":
                continue
            if line.cell_length + 2 + part.cell_length + 2 + last.cell_length > width:
                break
            line = Content.assemble(line, "  " if line else "", part)
        return [spread(line, last, width)]


def _key(key: str, label: str, possible: bool) -> Content:
    return Content.assemble(
        (key, "$accent" if possible else "$faint"), " ", (label, "$muted" if possible else "$faint")
    )
