"""The last lines of what happened in a run."""

from textual.content import Content

from linftui.tui.live.run_model import RunModel
from linftui.tui.widgets.history_lines import history_lines
from linftui.tui.widgets.lines import Lines


class LogPane(Lines):
    """As many of the newest lines as there is height for."""

    DEFAULT_CSS = "LogPane { height: 4; }"

    def __init__(self, model: RunModel, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._model = model

    def begin(self, model: RunModel) -> None:
        """Shows another model from the next drawing on."""
        self._model = model

    def make_lines(self, width: int, height: int) -> list[Content]:
        """The end of the history."""
        return history_lines(self._model, last=height) if height else []
