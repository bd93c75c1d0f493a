"""The places where keys act, and the interface of each: the table of keys uses nothing else of them."""

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
        """The run; None if there is none, or it has not been read yet."""

    @property
    def standing(self) -> Standing | None:
        """Its standing, if the run is followed."""


class Leavable(Protocol):
    """A screen that can be left."""

    def leave(self) -> None:
        """Goes back one step."""


class Focusing(Protocol):
    """A screen with several widgets to focus."""

    def focus_next(self) -> object:
        """Focuses the next."""

    def focus_previous(self) -> object:
        """Focuses the previous one."""


class Runs(Protocol):
    """The screen of all runs."""

    def open_current(self) -> None:
        """Opens the run under the cursor."""

    def begin_filter(self) -> None:
        """Opens the filter field."""

    def sort_by_next(self) -> None:
        """Sorts by the next column."""

    def reverse_order(self) -> None:
        """Sorts the other way round."""


class Filter(Protocol):
    """The field with the filter."""

    def accept(self) -> None:
        """Goes back to the table."""

    def give_up(self) -> None:
        """Clears the filter."""

    def point(self, by: int) -> None:
        """Moves the table's cursor by this many rows."""


class Table(Protocol):
    """The table of runs."""

    def move_cursor(self, by: int) -> None:
        """Moves the cursor by this many rows."""

    def turn_page(self, direction: int) -> None:
        """Moves the cursor by a screenful."""

    def drop_filter(self) -> None:
        """Clears the filter."""


class Run(Focusing, Protocol):
    """The screen of one run."""

    def show_log(self) -> None:
        """Shows what has happened so far."""

    def show_recipe(self) -> None:
        """Shows the recipe with every value."""

    def focus_chart(self, number: int) -> None:
        """Focuses a chart."""

    def enlarge(self) -> None:
        """Shows only the focused chart, or all of them again."""


class ChartView(Protocol):
    """A chart. A direction of 1 is in, right or up; -1 is out, left or down."""

    def zoom_step(self, direction: int) -> None:
        """Zooms x."""

    def zoom_y_step(self, direction: int) -> None:
        """Zooms y."""

    def pan_step(self, direction: int) -> None:
        """Pans x."""

    def pan_y_step(self, direction: int) -> None:
        """Pans y."""

    def move_crosshair(self, cells: int) -> None:
        """Moves the crosshair by this many cells."""

    def cycle_smoothing(self) -> None:
        """Smooths more, or after the most not at all."""

    def toggle_log_y(self) -> None:
        """Switches the log axis."""

    def start_over(self) -> None:
        """Resets the view."""


class Scrolling(Protocol):
    """A widget of Textual that scrolls."""

    def action_scroll_up(self) -> None: ...
    def action_scroll_down(self) -> None: ...
    def action_scroll_left(self) -> None: ...
    def action_scroll_right(self) -> None: ...
    def action_scroll_home(self) -> None: ...
    def action_scroll_end(self) -> None: ...
    def action_page_up(self) -> None: ...
    def action_page_down(self) -> None: ...


class Text(Protocol):
    """A full-screen text."""

    def go_to_end(self) -> None:
        """Goes to the end and stays there."""


class Choices(Protocol):
    """A list of Textual's."""

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
        """Submits the form."""


class Certify(Protocol):
    """The form for certifying."""

    def stop(self) -> None:
        """Asks whether to stop the certification."""


class Answerable(Protocol):
    """A question."""

    def answer(self, yes: bool) -> None:
        """Closes with the answer."""
