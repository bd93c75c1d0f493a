"""Lines of text, of which only those that change are repainted."""

from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget


class LinesWidget(Widget):
    """A few lines that a subclass makes for the available width and height."""

    DEFAULT_CSS = "LinesWidget { height: auto; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Content] = []

    def make_lines(self, width: int, height: int) -> list[Content]:
        """The lines for `width` cells; if the height is fixed, those beyond `height` are cut off."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Makes the lines again and repaints those that differ."""
        if not self.size.width:
            return
        before, self._lines = self._lines, self._made(self.size.width, self.size.height)
        if len(before) != len(self._lines) and self.styles.is_auto_height:
            self.refresh(layout=True)
            return
        for y in range(max(len(before), len(self._lines))):
            if y >= len(before) or y >= len(self._lines) or not before[y].is_same(self._lines[y]):
                self.refresh(Region(0, y, self.size.width, 1))

    def on_resize(self) -> None:
        """Makes the lines for the new width."""
        self._lines = self._made(self.size.width, self.size.height)
        self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The number of lines to show."""
        return len(self._made(width, viewport.height))

    def render_line(self, y: int) -> Strip:
        """One line, cut at the width of the widget."""
        line = self._lines[y] if y < len(self._lines) else Content.empty()
        return line_strip(self, line, self.size.width)

    def _made(self, width: int, height: int) -> list[Content]:
        return [line.truncate(width, ellipsis=True) for line in self.make_lines(width, height)]


def line_strip(widget: Widget, line: Content, width: int) -> Strip:
    """One line as a Textual strip, `width` cells wide, in the widget's own style."""
    strips = Visual.to_strips(widget, line, width, 1, widget.visual_style, pad=True, apply_selection=False)
    return strips[0].simplify() if strips else Strip.blank(width, widget.visual_style.rich_style)


def spread(left: Content, right: Content, width: int) -> Content:
    """One line with `left` and `right` at its ends; if both do not fit, `left` is cut."""
    room = width - right.cell_length - (2 if right else 0)
    left = left.truncate(max(room, 0), ellipsis=True)
    return Content.assemble(left, " " * max(0, width - left.cell_length - right.cell_length), right)


def wrapped(text: str, width: int, style: str) -> list[Content]:
    """Text on as many lines as it needs."""
    return list(Content.styled(text, style).wrap(max(width, 8)))
