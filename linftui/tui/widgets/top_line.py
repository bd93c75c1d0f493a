"""The first line: which folder this is, and how many runs it holds in which state."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from textual.content import Content

from linftui.tui.run_list import RunRow
from linftui.tui.text import clean
from linftui.tui.theme import STATES
from linftui.tui.widgets.lines import Lines, spread


class TopLine(Lines):
    """One line; at its right end what the dashboard is doing for a person just now."""

    def __init__(self, folder: Path, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._folder = folder
        self._counts: Counter[str] = Counter()
        self._complete = False
        self._status = ""

    def show(self, rows: Sequence[RunRow], complete: bool, status: str) -> None:
        """Takes the runs as they are now; `status` is what is being done in the background."""
        self._counts = Counter(row.summary.state or "damaged" for row in rows)
        self._complete, self._status = complete, status
        self.redraw()

    def make_lines(self, width: int, height: int) -> list[Content]:
        """One line."""
        known = [state for state in STATES if self._counts[state]]
        counts = Content(" · ").join(
            Content.assemble(f"{self._counts[state]} ", (state, STATES[state][1])) for state in known
        )
        left = Content.assemble(
            ("linftui", "bold $accent"), "  ", (clean(str(self._folder)), "$muted"), "   ", counts,
            ("" if self._complete else "  reading", "$faint"),
        )  # fmt: skip
        return [spread(left, Content.styled(clean(self._status), "$warning"), width)]
