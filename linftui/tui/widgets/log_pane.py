"""The last lines of what happened in a run."""

from collections import deque
from collections.abc import Iterable

from textual.content import Content

from linftui.tui.widgets.lines import Lines

KEPT = 2000


class LogPane(Lines):
    """As many of the newest lines as there is height for."""

    DEFAULT_CSS = "LogPane { height: 4; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.history: deque[Content] = deque(maxlen=KEPT)

    def begin(self) -> None:
        """Forgets all lines."""
        self.history.clear()

    def add(self, lines: Iterable[Content]) -> None:
        """Appends lines, which `redraw` shows."""
        self.history.extend(lines)

    def make_lines(self, width: int, height: int) -> list[Content]:
        """The end of the history."""
        return list(self.history)[-height:] if height else []
