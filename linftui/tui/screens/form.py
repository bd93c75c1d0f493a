"""What forms share: input is checked as it is typed, and a refusal is shown in the form, which stays open."""

import re
from collections.abc import Callable
from typing import TypeVar

from textual import on
from textual.content import Content
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import Input, Static

from linftui.errors import LinftuiError
from linftui.text import clean
from linftui.tui.bindings import Keyed
from linftui.tui.host import Host
from linftui.tui.screens.base import Listener

T = TypeVar("T")

LOW = 16  # rows: with fewer, the parts have no space between them

_OPTIONS = re.compile(r"(?<!\S)--(?:set |(?=(?:name|devices|eps|checkpoint|means)\b))")


class FormScreen(Keyed, Listener):
    """A form with a Static `feedback`, which shows what is wrong with the fields, or what they mean."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._checks = 0  # number of checks begun; only the latest one's result counts
        self._wrong = False  # the latest check refused the fields
        self._feedback = Content.empty()  # on valid fields

    def check(self) -> None:
        """Checks the fields with `find_out`, or refuses them."""
        raise NotImplementedError

    def submit(self) -> None:
        """Starts the task that the fields describe."""
        raise NotImplementedError

    def enter(self) -> None:
        """Submits the form, once the characters typed before this key are in the field."""
        if isinstance(field := self.focused, Input):
            field.post_message(Input.Submitted(field, field.value))

    def find_out(self, work: Callable[[], T], accepted: Callable[[T], Content]) -> None:
        """Checks the fields in a thread; `accepted` gets the result, and returns the feedback."""
        asked = self._checks

        def good(found: T) -> None:
            if asked == self._checks:
                self._feedback = accepted(found)
                self._show_feedback(self._feedback)

        def bad(error: LinftuiError) -> None:
            if asked == self._checks:
                self.refuse(error)

        self.host.find_out(self, work, good, bad)

    def refuse(self, error: LinftuiError) -> None:
        """Shows what is wrong with the fields, and blocks submitting until they change."""
        self._wrong = True
        self._show_refusal(error)

    def refusal(self) -> Callable[[LinftuiError], None]:
        """Returns the function that shows why the task just started was refused, in the form.

        If the form is closed or has changed by then, a screen on top of the others shows it instead.
        """
        asked = self._checks

        def show(error: LinftuiError) -> None:
            if self in self.app.screen_stack and asked == self._checks:
                self._show_refusal(error)
            else:
                self.host.show_problem(LinftuiError(form_words(error.message), form_words(error.hint)))

        return show

    @on(Input.Changed)
    def _typed(self) -> None:
        self._checks += 1
        self._wrong = False
        self.check()
        self._bring_into_sight()

    @on(Input.Submitted)
    def _entered(self) -> None:
        if not self.is_active:
            return  # enter was pressed twice, and the first press closed the form
        if self._wrong:
            self.notify("fix what is shown in red first", severity="warning", markup=False)
            self._typed()  # it may be valid by now: a checkpoint was saved, a file was fixed
            return
        self._show_feedback(self._feedback)
        self.submit()

    def _show_refusal(self, error: LinftuiError) -> None:
        self._show_feedback(Content.styled(clean(form_words(str(error))), "$error"))

    def _show_feedback(self, feedback: Content) -> None:
        place = self.query_one("#feedback", Static)
        place.update(feedback)
        self._bring_into_sight(place)

    def on_resize(self, event: Resize) -> None:
        """On a small terminal, scrolls to the field that is typed into."""
        self.set_class(event.size.height < LOW, "low")
        self._bring_into_sight()

    def _bring_into_sight(self, *others: Widget) -> None:
        """Scrolls to the focused field, and to others as far as there is room."""

        def scroll() -> None:
            for widget in (*others, self.focused):
                if widget is not None:
                    self.scroll_to_widget(widget, animate=False, immediate=True)

        self.call_after_refresh(scroll)

    def leave(self) -> None:
        """Closes the form; tasks it has started continue."""
        self.dismiss()


def form_words(text: str) -> str:
    """A sentence of the command line for a form, whose fields have the names of options but no dashes."""
    return _OPTIONS.sub("", text)
