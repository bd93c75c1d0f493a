"""Boxes on top of the screens: a question, a problem, the palette, the help. Escape and ctrl+c close them."""

from dataclasses import replace
from typing import Any

from textual.app import ComposeResult
from textual.command import CommandPalette
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from linftui.text import clean
from linftui.tui.bindings import Command, Keyed, commands_of, help_sections, textual_bindings
from linftui.tui.widgets.lines import LinesWidget, wrapped

KEY = 9  # cells for the keys in a line of the help


class ConfirmScreen(Keyed, ModalScreen[bool]):
    """A yes-or-no question.

    While `yes` is empty, only no can be answered; `settle` sets it once more is known.

    Args:
        question: what is asked, in a few words.
        text: what follows from a yes.
        yes: the label of yes, a verb.
    """

    text = reactive("", recompose=True)
    yes = reactive("", recompose=True)

    PLACE = "question"
    BINDINGS = textual_bindings("question")

    def __init__(self, question: str, text: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self.text, self.yes = text, yes

    def compose(self) -> ComposeResult:
        """A box with the question."""
        with VerticalScroll(classes="box"):
            yield Static(Content.styled(clean(self._question), "bold $bright"))
            yield Static(Content(clean(self.text)), classes="paragraph")
            yes, no = commands_of("question")
            yield Static(keys_line(*([replace(yes, label=self.yes)] if self.yes else []), no))

    def settle(self, text: str, yes: str) -> None:
        """Sets what follows from a yes, and the label of yes."""
        self.text, self.yes = text, yes

    def answer(self, yes: bool) -> None:
        """Closes with the answer."""
        if self.yes or not yes:
            self.dismiss(yes)


class ProblemScreen(Keyed, ModalScreen[None]):
    """What went wrong, and how to fix it."""

    PLACE = "problem"
    BINDINGS = textual_bindings("problem")

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
            yield Static(keys_line(*commands_of("problem")))

    def leave(self) -> None:
        """Closes it."""
        self.dismiss(None)


class Palette(Keyed, CommandPalette):
    """The command palette."""

    PLACE = "palette"
    BINDINGS = textual_bindings("palette")

    def leave(self) -> None:
        """Closes the palette as escape does."""
        self.call_later(self.run_action, "escape")


class HelpText(Keyed, VerticalScroll):
    """The help, which scrolls."""

    PLACE = "lines"
    BINDINGS = textual_bindings("lines")


class HelpScreen(Keyed, ModalScreen[None]):
    """Every key, made from the table of commands."""

    PLACE = "help"
    BINDINGS = textual_bindings("help")

    def compose(self) -> ComposeResult:
        """A box that scrolls."""
        with HelpText(classes="box wide"):
            yield Keys()
            yield Static(keys_line(*commands_of("help", "lines")))

    def leave(self) -> None:
        """Closes it."""
        self.dismiss(None)


class Keys(LinesWidget):
    """The sections of the help, sentences wrapped beside their keys."""

    def make_lines(self, width: int, height: int) -> list[Content]:
        """As many lines as the help needs."""
        lines: list[Content] = []
        for title, keys in help_sections():
            lines += [Content.styled(title, "bold $bright"), Content.empty()]
            for key, sentence in keys:
                first, *others = wrapped(sentence, width - KEY - 2, "")
                lines.append(Content.assemble((f"{key:>{KEY}}  ", "$accent"), first))
                lines += [other.pad_left(KEY + 2) for other in others]
            lines.append(Content.empty())
        return lines


def keys_line(*known: Command[Any]) -> Content:
    """Keys with their labels, for the bottom of a box."""
    parts = (Content.assemble((each.shown, "$accent"), " ", (each.label, "$muted")) for each in known)
    return Content("   ").join(parts)
