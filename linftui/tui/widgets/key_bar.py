"""The line of keys at the bottom; what cannot be done now stays there, dimmed."""

from collections.abc import Callable
from typing import Any

from textual.content import Content

from linftui.tui.bindings import Command
from linftui.tui.widgets.lines import LinesWidget, spread

# Commands, what each is called now, and whether it would do something.
Available = list[tuple[Command[Any], str, bool]]


class KeyBar(LinesWidget):
    """Keys of the screen it stands in, as many as there is room for; `?` shows the rest."""

    def __init__(self, available: Callable[[], Available], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._available = available

    def make_lines(self, width: int, height: int) -> list[Content]:
        """One line; help and the way out keep their place at its end."""
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
