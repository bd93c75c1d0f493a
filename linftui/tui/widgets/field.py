"""A line of a form: a label, and a field to type into."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static


class FormInput(Input):
    """A field that leaves enter to the form."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Allows all of a field's keys except enter."""
        return action != "submit" and super().check_action(action, parameters)


class Field(Horizontal):
    """A label and an input on one line.

    Args:
        label: the text before the field.
        value: the initial value.
        placeholder: what may be typed.
        id: of the input.
    """

    DEFAULT_CSS = """
    Field { height: 1; }
    Field Static { width: 12; color: $muted; }
    Field Input { width: 1fr; height: 1; border: none; padding: 0 1; background: $surface; }
    Field Input:focus { background: $cursor; }
    """

    def __init__(self, label: str, value: str, placeholder: str, *, id: str) -> None:
        super().__init__()
        self._label = label
        self._input = FormInput(value, placeholder, id=id, compact=True, select_on_focus=False)
        self._input.cursor_blink = False

    def compose(self) -> ComposeResult:
        """The label and the input."""
        yield Static(Content(self._label))
        yield self._input


def fill(field: Input, value: str) -> None:
    """Puts a value into a field, with the cursor after it, ready for more typing."""
    field.value = value
    field.cursor_position = len(value)
