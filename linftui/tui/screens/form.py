"""What forms share: what is typed is checked at once, and a refusal is told in the form, which stays open."""

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

LOW = 16  # rows: with fewer there is no air between the parts

_OPTIONS = re.compile(r"(?<!\S)--(?:set |(?=(?:name|devices|eps|checkpoint|means)\b))")


class FormScreen(Keyed, Listener):
    """A form with a Static `feedback`, which tells what is wrong with the fields, or what they mean."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._checks = 0  # so many were begun; what comes of an earlier one is no news
        self._wrong = False  # the latest has refused what the fields say
        self._feedback = Content.empty()  # on fields that are right

    def check(self) -> None:
        """Has what the fields say checked by `find_out`, or refuses it."""
        raise NotImplementedError

    def submit(self) -> None:
        """Sets going what the fields say."""
        raise NotImplementedError

    def enter(self) -> None:
        """Sets going what the fields say, once what was typed before the key is in them."""
        if isinstance(field := self.focused, Input):
            field.post_message(Input.Submitted(field, field.value))

    def find_out(self, work: Callable[[], T], accepted: Callable[[T], Content]) -> None:
        """Checks in a thread what the fields say; `accepted` gets the result, and returns the feedback."""
        asked = self._checks

        def good(found: T) -> None:
            if asked == self._checks:
                self._feedback = accepted(found)
                self._tell(self._feedback)

        def bad(error: LinftuiError) -> None:
            if asked == self._checks:
                self.refuse(error)

        self.host.find_out(self, work, good, bad)

    def refuse(self, error: LinftuiError) -> None:
        """Says what is wrong with the fields, which have to be mended first."""
        self._wrong = True
        self._tell_refusal(error)

    def refusal(self) -> Callable[[LinftuiError], None]:
        """Tells that what was just asked for cannot be done: in the form, where it may be asked for again.

        Where it is closed by then, or says something else, it is told over whatever is shown.
        """
        asked = self._checks

        def tell(error: LinftuiError) -> None:
            if self in self.app.screen_stack and asked == self._checks:
                self._tell_refusal(error)
            else:
                self.host.show_problem(LinftuiError(form_words(error.message), form_words(error.hint)))

        return tell

    @on(Input.Changed)
    def _typed(self) -> None:
        self._checks += 1
        self._wrong = False
        self.check()
        self._bring_into_sight()

    @on(Input.Submitted)
    def _entered(self) -> None:
        if not self.is_active:
            return  # enter was pressed twice, and the first one has closed the form
        if self._wrong:
            self.notify("fix what is shown in red first", severity="warning", markup=False)
            self._typed()  # it may be right by now: a checkpoint was saved, a file was mended
            return
        self._tell(self._feedback)
        self.submit()

    def _tell_refusal(self, error: LinftuiError) -> None:
        self._tell(Content.styled(clean(form_words(str(error))), "$error"))

    def _tell(self, feedback: Content) -> None:
        place = self.query_one("#feedback", Static)
        place.update(feedback)
        self._bring_into_sight(place)

    def on_resize(self, event: Resize) -> None:
        """A small terminal shows a part of the form: what is typed into is in it."""
        self.set_class(event.size.height < LOW, "low")
        self._bring_into_sight()

    def _bring_into_sight(self, *others: Widget) -> None:
        """Scrolls to the field in focus; to others too, as far as there is room."""

        def scroll() -> None:
            for widget in (*others, self.focused):
                if widget is not None:
                    self.scroll_to_widget(widget, animate=False, immediate=True)

        self.call_after_refresh(scroll)

    def leave(self) -> None:
        """Closes the form; what it has set going goes on."""
        self.dismiss()


def form_words(text: str) -> str:
    """A sentence of the command line in the words of a form, whose fields are called as its options are."""
    return _OPTIONS.sub("", text)
