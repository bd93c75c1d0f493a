"""The interface of the app as screens and commands see it; they use nothing else of it."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from textual.screen import Screen

from linftui.actions.telling import Report
from linftui.devices import DeviceSnapshot, Gpu
from linftui.errors import LinftuiError
from linftui.rundir.paths import RunPaths
from linftui.rundir.store import RunStore
from linftui.tui.live.following import Following
from linftui.tui.live.run_facts import RunFacts
from linftui.tui.live.run_follower import Standing
from linftui.tui.live.run_list import RunRow

T = TypeVar("T")


class Question(Protocol):
    """A question on the screen, whose text may be completed while it is shown."""

    def settle(self, text: str, yes: str) -> None:
        """Sets what follows from a yes, and the label of yes; until then only no can be answered."""


class OpenForm(Protocol):
    """A form that has started a task."""

    @property
    def is_active(self) -> bool:
        """Whether it is still the top screen."""

    def dismiss(self) -> object:
        """Closes it."""

    def refusal(self) -> Callable[[LinftuiError], None]:
        """The function to call with the error if the task is refused."""


class Host(Protocol):
    """The app, as its screens see it."""

    @property
    def store(self) -> RunStore:
        """The folder of runs."""

    @property
    def rows(self) -> tuple[RunRow, ...]:
        """The runs known so far."""

    @property
    def complete(self) -> bool:
        """Whether every run has been read."""

    @property
    def facts(self) -> RunFacts | None:
        """Facts about the selected run."""

    @property
    def machine(self) -> DeviceSnapshot | None:
        """The machine's devices, once they have been sampled."""

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The machine's GPUs."""

    @property
    def status(self) -> str:
        """The progress of the latest task that has reported any."""

    def now(self) -> float:
        """Seconds since 1970."""

    def is_in_sight(self, screen: Screen[None]) -> bool:
        """Whether a screen is on top, or visible below modal ones."""

    def select(self, paths: RunPaths | None) -> None:
        """Reads the facts of this run from now on; None: of no run."""

    def follow(self, paths: RunPaths) -> Following:
        """Follows a run; its news goes to every screen, and the caller closes the handle."""

    def do(
        self,
        task: str,
        work: Callable[[Report], T],
        then: Callable[[T], None],
        failed: Callable[[LinftuiError], None] | None = None,
    ) -> None:
        """Does `work` in a thread; a second task of the same name is refused while the first one runs."""

    def find_out(
        self,
        asker: object,
        work: Callable[[], T],
        then: Callable[[T], None],
        failed: Callable[[LinftuiError], None] | None = None,
    ) -> None:
        """Does `work` for a screen in a thread, and drops the result if the screen is closed by then."""

    def toast(self, text: str) -> None:
        """Shows a sentence in a corner for a few seconds."""

    def show_problem(self, error: LinftuiError) -> None:
        """Shows what went wrong, on top of the current screen."""

    def show_help(self) -> None:
        """Shows every key."""

    def show_palette(self) -> None:
        """Opens the command palette."""

    def suspend_to_shell(self) -> None:
        """Suspends the dashboard to its shell."""

    def leave(self) -> None:
        """Exits the dashboard; runs continue."""

    def ask(self, question: str, text: str, yes: str, confirmed: Callable[[], None]) -> Question:
        """Asks a yes-or-no question; a yes calls `confirmed`."""

    def open_run(self, paths: RunPaths) -> None:
        """Opens the screen of one run."""

    def open_certify(self, paths: RunPaths, standing: Standing | None) -> None:
        """Opens the form that certifies a run; `standing` if it is known already."""

    def open_launch(self) -> None:
        """Opens the form that trains a recipe."""
