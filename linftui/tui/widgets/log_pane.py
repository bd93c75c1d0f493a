"""The last lines of a run's history."""

from collections.abc import Sequence

from textual.content import Content

from linftui.tui.widgets.lines import LinesWidget


class LogPane(LinesWidget):
    """As many of the newest lines as fit."""

    DEFAULT_CSS = "LogPane { height: 4; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._history: Sequence[Content] = ()

    def show(self, lines: Sequence[Content]) -> None:
        """Takes the lines, the newest last."""
        self._history = lines
        self.redraw()

    def make_lines(self, width: int, height: int) -> list[Content]:
        """The end of the history."""
        return list(self._history[-height:]) if height else []
