"""The places that keys act in, and what each offers to its keys: the table of keys knows no more of it."""

from typing import Literal, Protocol

from linftui.tui.host import Host
from linftui.tui.live.run_follower import Standing
from linftui.tui.live.run_list import RunRow

Place = Literal[
    "app", "runs", "filter", "table", "run", "chart", "text", "lines",
    "launch", "recipes", "certify", "question", "problem", "help", "palette",
]  # fmt: skip


class HasHost(Protocol):
    """Any screen, and the app itself."""

    @property
    def host(self) -> Host:
        """The app."""


class ActsOnRun(HasHost, Protocol):
    """A screen whose keys act on a run."""

    @property
    def row(self) -> RunRow | None:
        """The run; None where there is none, or it is not yet read."""

    @property
    def standing(self) -> Standing | None:
        """How it stands, where the run is followed."""


class Leavable(Protocol):
    """Something one goes back from."""

    def leave(self) -> None:
        """Goes a step back."""


class Focusing(Protocol):
    """A screen with several things to focus."""

    def focus_next(self) -> object:
        """Focuses the next."""

    def focus_previous(self) -> object:
        """Focuses the one before."""


class Runs(Protocol):
    """The screen of all runs."""

    def open_current(self) -> None:
        """Opens the run under the cursor."""

    def begin_filter(self) -> None:
        """Asks for the text to filter by."""

    def sort_by_next(self) -> None:
        """Sorts by the next column."""

    def reverse_order(self) -> None:
        """Sorts the other way round."""


class Filter(Protocol):
    """The field with the filter."""

    def accept(self) -> None:
        """Goes back to the table."""

    def give_up(self) -> None:
        """Has the filter taken away."""

    def point(self, by: int) -> None:
        """Has the cursor of the table moved by so many rows."""


class Table(Protocol):
    """The table of runs."""

    def move_cursor(self, by: int) -> None:
        """Moves the cursor by so many rows."""

    def turn_page(self, direction: int) -> None:
        """Moves the cursor by a screenful."""

    def drop_filter(self) -> None:
        """Has the filter taken away."""


class Run(Focusing, Protocol):
    """The screen of one run."""

    def show_log(self) -> None:
        """Shows what happened so far."""

    def show_recipe(self) -> None:
        """Shows the recipe with every value."""

    def focus_chart(self, number: int) -> None:
        """Focuses a chart."""

    def enlarge(self) -> None:
        """Shows the chart in focus alone, or all of them again."""


class ChartView(Protocol):
    """A chart; 1 is in, right or up, -1 the other way."""

    def zoom_step(self, direction: int) -> None:
        """Zooms x."""

    def zoom_y_step(self, direction: int) -> None:
        """Zooms y."""

    def pan_step(self, direction: int) -> None:
        """Pans x."""

    def pan_y_step(self, direction: int) -> None:
        """Pans y."""

    def move_crosshair(self, cells: int) -> None:
        """Moves the crosshair by so many cells."""

    def cycle_smoothing(self) -> None:
        """Smooths more, or not at all."""

    def toggle_log_y(self) -> None:
        """Switches the log axis."""

    def start_over(self) -> None:
        """Shows all of it again."""


class Scrolling(Protocol):
    """What Textual scrolls by these names."""

    def action_scroll_up(self) -> None: ...
    def action_scroll_down(self) -> None: ...
    def action_scroll_left(self) -> None: ...
    def action_scroll_right(self) -> None: ...
    def action_scroll_home(self) -> None: ...
    def action_scroll_end(self) -> None: ...
    def action_page_up(self) -> None: ...
    def action_page_down(self) -> None: ...


class Text(Protocol):
    """A text over the whole screen."""

    def go_to_end(self) -> None:
        """Goes to the end and stays there."""


class Choices(Protocol):
    """What Textual calls the keys of a list."""

    def action_cursor_up(self) -> None: ...
    def action_cursor_down(self) -> None: ...
    def action_first(self) -> None: ...
    def action_last(self) -> None: ...
    def action_page_up(self) -> None: ...
    def action_page_down(self) -> None: ...
    def action_select(self) -> None: ...


class Form(Focusing, Leavable, Protocol):
    """A form."""

    def enter(self) -> None:
        """Sets going what the fields say."""


class Certify(Protocol):
    """The form for certifying."""

    def stop(self) -> None:
        """Asks whether to stop what is being certified."""


class Answerable(Protocol):
    """A question."""

    def answer(self, yes: bool) -> None:
        """Closes with the answer."""
