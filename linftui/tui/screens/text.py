"""A full-screen text: a log that grows, or a recipe."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from linftui.text import clean
from linftui.tui.bindings import Keyed, textual_bindings
from linftui.tui.host import Host
from linftui.tui.screens.base import CommandScreen
from linftui.tui.widgets.key_bar import KeyBar
from linftui.tui.widgets.lines import LinesWidget, line_strip, spread


class TextView(Keyed, ScrollView, can_focus=True):
    """Lines that scroll both ways; at the end, it stays at the end as lines are added."""

    PLACE = "lines"
    BINDINGS = textual_bindings("lines")

    def __init__(self, *, follow: bool) -> None:
        super().__init__()
        self._text: Sequence[Content] = ()
        self._follow = follow

    @property
    def following(self) -> bool:
        """Whether it is at the end and stays there."""
        return self._follow and self.scroll_offset.y >= self.max_scroll_y

    def show(self, lines: Sequence[Content]) -> None:
        """Replaces the lines."""
        at_end = self.following or not self._text
        self._text = lines
        width = max((line.cell_length for line in self._text), default=0)
        self.virtual_size = Size(max(width, self.size.width), len(self._text))
        self.refresh()
        if at_end and self._follow:
            self.scroll_end(animate=False)

    def on_resize(self) -> None:
        """Stays at the end if it follows."""
        if self._follow:
            self.scroll_end(animate=False)

    def render_line(self, y: int) -> Strip:
        """One line of the part scrolled to."""
        left, top = self.scroll_offset
        place = y + top
        line = self._text[place] if place < len(self._text) else Content.empty()
        width = max(self.virtual_size.width, left + self.size.width)
        return line_strip(self, line, width).crop(left, left + self.size.width)


class Title(LinesWidget):
    """The title of the text."""

    def __init__(self, title: str, beside: str) -> None:
        super().__init__()
        self._title, self._beside = title, beside

    def make_lines(self, width: int, height: int) -> list[Content]:
        """One line."""
        left = Content.styled(clean(self._title), "bold $bright")
        return [spread(left, Content.styled(clean(self._beside), "$muted"), width)]


class TextScreen(CommandScreen):
    """Shows lines from the beginning, or, if they grow, from the end."""

    PLACE = "text"
    BINDINGS = textual_bindings("text")

    def __init__(
        self, host: Host, title: str, beside: str, lines: Sequence[Content], *, follow: bool = False
    ) -> None:
        super().__init__(host)
        self._title, self._beside, self._follow = title, beside, follow
        self._waiting = lines  # shown once the view is mounted
        self._there = False

    def compose(self) -> ComposeResult:
        """A title, the text, the keys."""
        yield Title(self._title, self._beside)
        yield TextView(follow=self._follow)
        yield KeyBar(self.available, id="keys")

    def on_mount(self) -> None:
        """Shows the lines given so far."""
        self.view.focus()
        self.view.show(self._waiting)
        self._waiting, self._there = (), True

    @property
    def view(self) -> TextView:
        """The text."""
        return self.query_one(TextView)

    def show(self, lines: Sequence[Content]) -> None:
        """Replaces the lines, even before the view is mounted."""
        if self._there:
            self.view.show(lines)
        else:
            self._waiting = lines

    def why_not(self, command: str) -> str:
        """Refuses to follow a text that does not grow."""
        if command == "follow" and not self._follow:
            return "this text does not grow"
        return ""

    def go_to_end(self) -> None:
        """Goes to the end."""
        self.view.scroll_end(animate=False)

    def leave(self) -> None:
        """Goes back."""
        self.dismiss()
