"""The first line: the folder, and how many runs are in each state."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from textual.content import Content

from linftui.text import clean, middle
from linftui.tui.live.run_list import RunRow
from linftui.tui.theme import STATES
from linftui.tui.widgets.lines import LinesWidget, spread


class TopLine(LinesWidget):
    """One line, with the progress of background tasks at its right end."""

    def __init__(self, folder: Path, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._folder = folder
        self._counts: Counter[str] = Counter()
        self._complete = False
        self._status = ""

    def show(self, rows: Sequence[RunRow], complete: bool, status: str) -> None:
        """Takes the current runs; `status` is the progress of background tasks."""
        self._counts = Counter(row.summary.state or "damaged" for row in rows)
        self._complete, self._status = complete, status
        self.redraw()

    def make_lines(self, width: int, height: int) -> list[Content]:
        """One line."""
        known = [state for state in STATES if self._counts[state]]
        counts = Content(" · ").join(
            Content.assemble(f"{self._counts[state]} ", (state, STATES[state][1])) for state in known
        )
        counts += Content.styled("" if self._complete else "  reading", "$faint")
        status = Content.styled(clean(self._status), "$warning")
        # The ends of a long path say enough; the counts matter more here.
        room = max(width - len("linftui") - counts.cell_length - status.cell_length - 6, 12)
        folder = middle(clean(str(self._folder)), room)
        left = Content.assemble(("linftui", "bold $accent"), "  ", (folder, "$muted"), "   ", counts)
        return [spread(left, status, width)]
