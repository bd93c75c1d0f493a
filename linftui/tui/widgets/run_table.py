"""The table of runs: up to thousands of rows, of which only those that change are repainted."""

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from linftui.tui.bindings import Keyed, textual_bindings
from linftui.tui.live.run_list import RunRow
from linftui.tui.widgets.lines import line_strip
from linftui.tui.widgets.run_columns import SORTABLE, CellContext, Column, columns_for, gap_for, sized_cell

HEAD = 1  # lines above the rows; they do not scroll


class RunTable(Keyed, ScrollView, can_focus=True):
    """Rows of runs under a fixed header, with a cursor that stays on its run."""

    PLACE = "table"
    BINDINGS = textual_bindings("table")

    class Moved(Message):
        """The cursor moved to another run, or the row under it changed."""

    class Opened(Message):
        """A run was chosen with the mouse."""

    class FilterDropped(Message):
        """The filter is to be cleared."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._all: Sequence[RunRow] = ()
        self._rows: list[RunRow] = []
        self._cursor = 0
        self._settled = False  # the cursor stays on its run
        self._cell_context = CellContext()
        self._sort: Column = next(column for column in SORTABLE if column.name == "age")
        self._descending = True
        self._filter = ""
        self._painted: list[Content] = []

    @property
    def rows(self) -> list[RunRow]:
        """The rows in the order shown."""
        return self._rows

    @property
    def current(self) -> RunRow | None:
        """The row under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    @property
    def order(self) -> tuple[str, bool]:
        """The column sorted by, and whether the largest value comes first."""
        return self._sort.name, self._descending

    def show(self, rows: Sequence[RunRow], context: CellContext, *, reading: bool = False) -> None:
        """Takes the current runs; until all have been read, a cursor that was not moved stays at the top."""
        self._all, self._cell_context = rows, context
        self._arrange(on_top=not self._settled)
        self._settled = self._settled or not reading

    def filter(self, text: str) -> None:
        """Shows only the rows for which `matches` the text holds."""
        self._filter = text
        self._arrange()

    def sort_by_next(self) -> None:
        """Sorts by the next sortable column."""
        self._sort = SORTABLE[(SORTABLE.index(self._sort) + 1) % len(SORTABLE)]
        self._descending = self._sort.descending
        self._arrange()

    def reverse_order(self) -> None:
        """Sorts the other way round."""
        self._descending = not self._descending
        self._arrange()

    def _arrange(self, *, on_top: bool = False) -> None:
        key = self._sort.key
        assert key is not None  # every column in SORTABLE has one
        before = self.current
        found = [row for row in self._all if matches(row, self._filter)]
        self._rows = sorted(found, key=lambda row: key(row.summary), reverse=self._descending)
        ids = [row.summary.id for row in self._rows]
        if on_top:
            self._cursor = 0
        elif before is not None and before.summary.id in ids:
            self._cursor = ids.index(before.summary.id)
        self._cursor = max(0, min(self._cursor, len(ids) - 1))
        self.virtual_size = Size(self.size.width, len(ids) + HEAD)
        if before != self.current:
            self._keep_cursor_in_sight()
            self.post_message(self.Moved())
        self._repaint()

    def move_cursor(self, by: int) -> None:
        """Moves the cursor by this many rows."""
        if not self._rows:
            return
        self._settled = True
        target = max(0, min(self._cursor + by, len(self._rows) - 1))
        if target != self._cursor:
            self._cursor = target
            self._keep_cursor_in_sight()
            self._repaint()
            self.post_message(self.Moved())

    def turn_page(self, direction: int) -> None:
        """Moves the cursor by a screenful."""
        self.move_cursor(direction * max(1, self.size.height - HEAD - 1))

    def drop_filter(self) -> None:
        """Asks to clear the filter, which is in another widget."""
        self.post_message(self.FilterDropped())

    def _keep_cursor_in_sight(self) -> None:
        top, room = self.scroll_offset.y, self.size.height - HEAD
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False)
        elif room > 0 and self._cursor >= top + room:
            self.scroll_to(y=self._cursor - room + 1, animate=False)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; a double click opens the run."""
        place = event.y - self.content_offset.y + self.scroll_offset.y - HEAD
        if event.y > self.content_offset.y and 0 <= place < len(self._rows):
            self.move_cursor(place - self._cursor)
            if event.chain == 2:
                self.post_message(self.Opened())

    def on_resize(self) -> None:
        """Repaints: another width has room for other columns."""
        self.virtual_size = Size(self.size.width, len(self._rows) + HEAD)
        self._keep_cursor_in_sight()
        self._repaint()

    def on_focus(self) -> None:
        """Repaints: the cursor is bright while the table has the focus."""
        self._repaint()

    def on_blur(self) -> None:
        """Repaints: the cursor is dim while the table does not have the focus."""
        self._repaint()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Repaints: other rows become visible."""
        self._painted = self._visible_lines()
        super().watch_scroll_y(old_value, new_value)

    def render_line(self, y: int) -> Strip:
        """A line of the screen: the header, then the rows scrolled to."""
        if not self._painted:
            self._painted = self._visible_lines()
        line = self._painted[y] if y < len(self._painted) else Content.empty()
        return line_strip(self, line, self.size.width)

    def _repaint(self) -> None:
        before, self._painted = self._painted, self._visible_lines()
        for y in range(max(len(before), len(self._painted))):
            if y >= len(before) or y >= len(self._painted) or not before[y].is_same(self._painted[y]):
                self.refresh(Region(0, y, self.size.width, 1))

    def _visible_lines(self) -> list[Content]:
        width, top = self.size.width - 1, self.scroll_offset.y  # the last cell is the scrollbar's
        columns, gap = columns_for(width), Content(" " * gap_for(width))
        head = gap.join(
            sized_cell(
                Content.styled(self._title(column), self._title_style(column)), cells, right=column.right
            )
            for column, cells in columns
        )
        lines = [head]
        if self._all and not self._rows:
            lines.append(Content.styled("No run matches the filter; esc clears it.", "$muted"))
        for place, row in enumerate(self._rows[top : top + max(0, self.size.height - HEAD)], start=top):
            line = gap.join(
                sized_cell(column.cell(row, self._cell_context), cells, right=column.right)
                for column, cells in columns
            )
            if place == self._cursor:
                line = line.pad_right(max(0, width - line.cell_length)).stylize_before(
                    "on $cursor" if self.has_focus else "on $panel"
                )
            lines.append(line)
        return lines

    def _title(self, column: Column) -> str:
        if column is not self._sort:
            return column.title
        return f"{column.title}{'↓' if self._descending else '↑'}"

    def _title_style(self, column: Column) -> str:
        return "$accent" if column is self._sort else "$muted"


def matches(row: RunRow, text: str) -> bool:
    """Whether a run's id, recipe or state contains each word of the text, and no word that follows a `!`."""
    run = row.summary
    haystack = f"{run.id} {run.recipe or ''} {run.state or 'damaged'}".lower()
    for word in text.lower().split():
        wanted = word.removeprefix("!")
        if wanted and (wanted in haystack) == word.startswith("!"):
            return False
    return True
