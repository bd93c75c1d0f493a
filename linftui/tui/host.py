"""What screens and commands need of the app that shows them; they know nothing else of it."""

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
    """A question that is on the screen, of which more may become known while it is asked."""

    def settle(self, text: str, yes: str) -> None:
        """Says what follows from a yes, and what a yes does; until then there is none."""


class OpenForm(Protocol):
    """A form that has set something going."""

    @property
    def is_active(self) -> bool:
        """Whether it is still on top."""

    def dismiss(self) -> object:
        """Closes it."""

    def refusal(self) -> Callable[[LinftuiError], None]:
        """What to call with the error where it cannot be done."""


class Host(Protocol):
    """The app as its screens see it."""

    @property
    def store(self) -> RunStore:
        """The folder of runs."""

    @property
    def rows(self) -> tuple[RunRow, ...]:
        """The runs that are known."""

    @property
    def complete(self) -> bool:
        """Whether each run was looked at."""

    @property
    def facts(self) -> RunFacts | None:
        """What is worth knowing of the selected run."""

    @property
    def machine(self) -> DeviceSnapshot | None:
        """The machine's devices, once they were looked at."""

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """Its GPUs among them."""

    @property
    def status(self) -> str:
        """How far the latest task is that says so."""

    def now(self) -> float:
        """Seconds since 1970."""

    def is_in_sight(self, screen: Screen[None]) -> bool:
        """Whether a screen is on top, or below others that let it through."""

    def select(self, paths: RunPaths | None) -> None:
        """Has the facts of this run read; None: of none."""

    def follow(self, paths: RunPaths) -> Following:
        """Has a run followed, whose news go to every screen; the caller closes it."""

    def do(
        self,
        task: str,
        work: Callable[[Report], T],
        then: Callable[[T], None],
        failed: Callable[[LinftuiError], None] | None = None,
    ) -> None:
        """Does in a thread what a person asked for; the same `task` is not done twice at once."""

    def find_out(
        self,
        asker: object,
        work: Callable[[], T],
        then: Callable[[T], None],
        failed: Callable[[LinftuiError], None] | None = None,
    ) -> None:
        """Answers in a thread what a screen asks, unless it is closed by then."""

    def toast(self, text: str) -> None:
        """A sentence in a corner, for some seconds."""

    def show_problem(self, error: LinftuiError) -> None:
        """What went wrong, over whatever is shown."""

    def show_help(self) -> None:
        """Every key."""

    def show_palette(self) -> None:
        """Commands by their names."""

    def suspend_to_shell(self) -> None:
        """Goes to the shell, from which one comes back."""

    def leave(self) -> None:
        """Leaves the dashboard, not the runs."""

    def ask(self, question: str, text: str, yes: str, confirmed: Callable[[], None]) -> Question:
        """Asks something that is answered yes or no; a yes calls `confirmed`."""

    def open_run(self, paths: RunPaths) -> None:
        """A screen for one run."""

    def open_certify(self, paths: RunPaths, standing: Standing | None) -> None:
        """A form to certify a run; `standing` where it is known already."""

    def open_launch(self) -> None:
        """A form to train a recipe."""
