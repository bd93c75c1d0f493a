"""Small screens over the others: a question, a problem, commands, keys. Escape and ctrl+c leave them."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from linftui.text import clean
from linftui.tui.bindings import key_help
from linftui.tui.widgets.lines import Lines, wrapped

KEY = 9  # cells for the keys of a line

CHART_KEYS = [
    ("+ - < >", "Zoom in and out, move left and right."),
    ("J K j k", "The same, up and down."),
    ("← →", "Move the crosshair; all charts show that moment."),
    ("s L 0", "Smooth; logarithmic axis; all of it again."),
]

LAUNCH_KEYS = [
    ("↑ ↓", "Choose a recipe of the list; enter goes on to the changes."),
    ("tab", "Go to the next field."),
    ("enter", "Train it, as is said below the fields."),
    ("esc", "Leave without training."),
]
CERTIFY_KEYS = [
    ("tab", "Go to the next field."),
    ("enter", "Certify what the fields say."),
    ("ctrl+s", "Stop what is being certified of the run."),
    ("esc", "Close the form; a certification goes on."),
]


class ConfirmScreen(ModalScreen[bool]):
    """A question that is answered yes or no.

    Until `yes` says what a yes does, there is none: `settle` says it once more is known.

    Args:
        question: what is asked, in a few words.
        text: what follows from a yes.
        yes: what a yes does, as a verb.
    """

    text = reactive("", recompose=True)
    yes = reactive("", recompose=True)

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", show=False),
        Binding("n,escape,q,ctrl+c", "answer(False)", show=False),
    ]

    def __init__(self, question: str, text: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self.text, self.yes = text, yes

    def compose(self) -> ComposeResult:
        """A box with the question."""
        with VerticalScroll(classes="box"):
            yield Static(Content.styled(clean(self._question), "bold $bright"))
            yield Static(Content(clean(self.text)), classes="paragraph")
            yield Static(keys_line(*([("enter", self.yes)] if self.yes else []), ("esc", "leave it")))

    def settle(self, text: str, yes: str) -> None:
        """Says what follows from a yes, and what a yes does."""
        self.text, self.yes = text, yes

    def action_answer(self, yes: bool) -> None:
        """Closes with the answer."""
        if self.yes or not yes:
            self.dismiss(yes)


class ProblemScreen(ModalScreen[None]):
    """What went wrong, and how to mend it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,escape,q,ctrl+c,space", "close", show=False)]

    def __init__(self, message: str, hint: str) -> None:
        super().__init__()
        self._message, self._hint = message, hint

    def compose(self) -> ComposeResult:
        """A box with both sentences."""
        with VerticalScroll(classes="box problem"):
            yield Static(Content.styled("That did not work", "bold $error"))
            yield Static(Content(clean(self._message)), classes="paragraph", id="message")
            if self._hint:
                yield Static(Content.styled(clean(self._hint), "$success"), classes="paragraph", id="hint")
            yield Static(keys_line(("enter", "close")))

    def action_close(self) -> None:
        """Closes it."""
        self.dismiss(None)


class Palette(CommandPalette):
    """Commands by their names."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "escape", show=False)]


class HelpScreen(ModalScreen[None]):
    """Every key, made from the table of commands."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,ctrl+c", "close", show=False)]

    def compose(self) -> ComposeResult:
        """A box that scrolls."""
        with VerticalScroll(classes="box wide"):
            yield Keys()
            yield Static(keys_line(("esc", "close"), ("↑ ↓", "scroll")))

    def action_close(self) -> None:
        """Closes it."""
        self.dismiss(None)


class Keys(Lines):
    """The sections of the help, sentences wrapped beside their keys."""

    def make_lines(self, width: int, height: int) -> list[Content]:
        """As many lines as it takes."""
        lines: list[Content] = []
        for title, keys in sections():
            lines += [Content.styled(title, "bold $bright"), Content.empty()]
            for key, sentence in keys:
                first, *others = wrapped(sentence, width - KEY - 2, "")
                lines.append(Content.assemble((f"{key:>{KEY}}  ", "$accent"), first))
                lines += [other.pad_left(KEY + 2) for other in others]
            lines.append(Content.empty())
        return lines


def sections() -> list[tuple[str, list[tuple[str, str]]]]:
    """What the help tells, a section a screen."""
    return [
        ("Everywhere", key_help("everywhere")),
        ("The runs", [*key_help("runs"), ("↑ ↓ j k", "Move; PgUp, PgDn, Home and End too.")]),
        ("A run", key_help("run")),
        ("A chart in focus", CHART_KEYS),
        ("Training a recipe", LAUNCH_KEYS),
        ("Certifying", CERTIFY_KEYS),
        ("A log or a recipe", [*key_help("text"), ("↑ ↓ j k", "Scroll; PgUp, PgDn, Home and End too.")]),
    ]


def keys_line(*keys: tuple[str, str]) -> Content:
    """Keys with what they do, at the foot of a box."""
    parts = (Content.assemble((key, "$accent"), " ", (label, "$muted")) for key, label in keys)
    return Content("   ").join(parts)
