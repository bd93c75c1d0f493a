"""The dashboard itself: what is known of the runs, the screens it is shown on, and what keys set going."""

import contextlib
import os
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from textual import on
from textual.app import SystemCommand
from textual.events import Event, Key
from textual.message import Message
from textual.notifications import Notify
from textual.screen import Screen
from textual.widgets import Input

from linftui.devices import DeviceSnapshot, Gpu
from linftui.errors import LinftuiError
from linftui.rundir.paths import RunPaths
from linftui.rundir.stopping import WARNING_SIGNALS
from linftui.rundir.store import RunStore
from linftui.text import clean
from linftui.tui.background import BackgroundApp
from linftui.tui.bindings import Keyed, commands_of, textual_bindings
from linftui.tui.host import Host, Question
from linftui.tui.live.following import Following
from linftui.tui.live.messages import (
    FactsRead,
    MachineSampled,
    PollerFailed,
    PollerMessage,
    RunGrew,
    RunsListed,
)
from linftui.tui.live.poller import Poller
from linftui.tui.live.run_facts import RunFacts
from linftui.tui.live.run_follower import Standing
from linftui.tui.live.run_list import RunRow
from linftui.tui.screens.base import CommandScreen, Listener
from linftui.tui.screens.certify import CertifyScreen
from linftui.tui.screens.launch import LaunchScreen
from linftui.tui.screens.modal import ConfirmScreen, HelpScreen, Palette, ProblemScreen
from linftui.tui.screens.run import RunScreen
from linftui.tui.screens.runs import RunsScreen
from linftui.tui.textual_private import make_room_for
from linftui.tui.theme import THEME

LOOK_AT_TERMINAL_S = 2.0  # whether it is still there
TOASTS = 2  # so many at once: more would hide a small terminal


class PollerNews(Message):
    """What the poller found, on its way to the app's own thread."""

    def __init__(self, message: PollerMessage) -> None:
        super().__init__()
        self.message = message

    def can_replace(self, message: Message) -> bool:
        """In a flood only the newest of a kind counts, but for records, which are told once."""
        if not isinstance(message, PollerNews) or isinstance(self.message, RunGrew):
            return False
        return type(message.message) is type(self.message)


class Dashboard(Keyed, BackgroundApp):
    """Screens over the runs of one folder.

    Args:
        store: the folder of runs.
        first: a run to open at once, in front of the list.
    """

    CSS_PATH = "linftui.tcss"
    TITLE = "linftui"
    PLACE = "app"
    BINDINGS = textual_bindings("app", priority=True)  # in forms as well
    ENABLE_COMMAND_PALETTE = False  # Textual's own key for it; ours is in the table
    ALLOW_SELECT = False  # the terminal's own selection works, and nothing is repainted for it

    def __init__(self, store: RunStore, first: RunPaths | None = None) -> None:
        super().__init__()
        self.store = store
        self.rows: tuple[RunRow, ...] = ()
        self.complete = False
        self.facts: RunFacts | None = None
        self.machine: DeviceSnapshot | None = None
        self.poller = Poller(store, lambda message: self.post_safely(PollerNews(message)))
        self._first = first
        self.register_theme(THEME)
        self.theme = THEME.name

    def on_mount(self) -> None:
        """The list of runs is always there, below what else is open."""
        self.push_screen(RunsScreen(self))
        if self._first is not None:
            self.open_run(self._first)
        self.poller.start()

    def on_unmount(self) -> None:
        """Nobody listens any more."""
        self.poller.stop()

    @property
    def host(self) -> Host:
        """Itself, for the keys that work everywhere."""
        return self

    @staticmethod
    def now() -> float:
        """Seconds since 1970; tests stop this clock."""
        return time.time()

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The machine's GPUs, once they were looked at."""
        return self.machine.gpus if self.machine else ()

    @property
    def listeners(self) -> list[Listener]:
        """The screens that show what is learned, the topmost first; none once one leaves."""
        known = reversed(self.screen_stack) if self.is_running else ()
        return [screen for screen in known if isinstance(screen, Listener) and screen.is_mounted]

    def is_in_sight(self, screen: Screen[None]) -> bool:
        """Whether a screen is on top, or below others that let it through."""
        return screen in self.in_sight()

    def in_sight(self) -> list[Listener]:
        """The one on top, and those it lets through; the others hear of it all when they are back."""
        found: list[Listener] = []
        for screen in self.listeners:
            found.append(screen)
            if not screen.is_modal:
                break
        return found

    # What the poller found

    @on(PollerNews)
    def _poller_news(self, learned: PollerNews) -> None:
        match learned.message:
            case RunsListed(rows, complete):
                self.rows, self.complete = rows, complete
                for screen in self.in_sight():
                    screen.runs_changed()
            case FactsRead(facts):
                self.facts = facts
                for screen in self.in_sight():
                    screen.facts_changed()
            case MachineSampled(machine):
                self.machine = machine
                for screen in self.in_sight():
                    screen.machine_changed()
            case RunGrew(following, news):
                for screen in self.listeners:  # all of them: records are told once
                    screen.run_grew(following, news)
                following.take_more()
            case PollerFailed(error):
                raise error

    # What is done in the background

    def status_changed(self) -> None:
        """Shows how far what is under way has come."""
        for screen in self.in_sight():
            screen.status_changed()

    def task_done(self) -> None:
        """Something was done to a run, perhaps."""
        self.poller.look_closely()

    def show_problem(self, error: LinftuiError) -> None:
        """What went wrong, over whatever is shown."""
        self.push_screen(ProblemScreen(error.message, error.hint))

    def toast(self, text: str) -> None:
        """A sentence in a corner, for some seconds."""
        self.notify(clean(text), timeout=5, markup=False)

    @on(Notify)
    def _make_room(self, message: Notify) -> None:
        """A sentence replaces itself, and the oldest beyond `TOASTS`, before it is shown."""
        make_room_for(self, message.notification, TOASTS)

    async def on_event(self, event: Event) -> None:
        """A key that is bound acts before the next one is looked at, which may be meant for what it opens.

        Textual hands a key to the widget in focus first, and asks for bindings once it has come back; by then
        other keys may be on their way to that widget too. Where text is typed, it has to be so, but for the
        keys that lead out of a field: what is typed after them is meant for the next one.
        """
        if isinstance(event, Key) and not event.is_forwarded:
            leaves = event.key in ("tab", "shift+tab")
            if leaves or not isinstance(self.focused, Input):
                active = self.screen.active_bindings.get(event.key)
                if active is not None and await self.run_action(active.binding.action, active.node):
                    return
        await super().on_event(event)

    # What screens ask for

    def select(self, paths: RunPaths | None) -> None:
        """Has the facts of this run read; None: of none."""
        self.poller.select(paths)

    def follow(self, paths: RunPaths) -> Following:
        """Has a run followed, whose news go to every screen; the caller closes it."""
        return self.poller.follow(paths)

    def open_run(self, paths: RunPaths) -> None:
        """Shows one run."""
        self.push_screen(RunScreen(self, paths))

    def show_help(self) -> None:
        """Shows every key."""
        self.push_screen(HelpScreen())

    def ask(self, question: str, text: str, yes: str, confirmed: Callable[[], None]) -> Question:
        """Asks something that is answered yes or no; a yes calls `confirmed`."""
        screen = ConfirmScreen(question, text, yes)
        self.push_screen(screen, lambda answer: confirmed() if answer else None)
        return screen

    def open_certify(self, paths: RunPaths, standing: Standing | None) -> None:
        """A form to certify a run; `standing` where it is known already."""
        self.push_screen(CertifyScreen(self, paths, standing))

    def open_launch(self) -> None:
        """A form to train a recipe."""
        self.push_screen(LaunchScreen(self))

    def leave(self) -> None:
        """Leaves the dashboard, not the runs."""
        self.exit()

    def suspend_to_shell(self) -> None:
        """Suspends the dashboard as a job of its shell; without such a shell nobody could go on with it."""
        if self.is_headless or self.is_web or os.getpgrp() == os.getsid(0):
            self.toast("there is no shell here to bring the dashboard back")
        else:
            with self.suspend():  # the terminal is the shell's before anybody is stopped
                os.killpg(0, signal.SIGTSTP)  # what has started the dashboard too: the shell waits for that

    def show_palette(self) -> None:
        """Lets a person find a command by its name."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette holds every command of the screen below it."""
        if isinstance(screen, CommandScreen):
            for command in commands_of(screen.PLACE):
                if command.name not in ("palette", "pane"):
                    title = f"{command.label} ({command.shown})"
                    yield SystemCommand(
                        title, command.help, lambda name=command.name: screen.action_command(name)
                    )


def open_dashboard(runs_dir: Path, open_run: RunPaths | None = None) -> int:
    """Shows the runs of a folder until it is left; returns the exit code.

    Args:
        runs_dir: the folder of run directories, which need not be there yet.
        open_run: a run to show at once.

    Raises:
        LinftuiError: it is no folder, or cannot be listed.
    """
    store = RunStore(runs_dir)
    store.require(new=True)
    app = Dashboard(store, open_run)
    for number in WARNING_SIGNALS:  # which are for a run's processes; here they would spoil the terminal
        signal.signal(number, signal.SIG_IGN)
    _end_with_the_terminal()
    app.run()
    if going_on := sum(row.active for row in app.rows):
        runs_are, them = ("runs are", "them") if going_on > 1 else ("run is", "it")
        print(f"{going_on} {runs_are} still going; run linftui to see {them}")
    return app.return_code or 0


def _end_with_the_terminal() -> None:
    """A dashboard without a terminal is of no use, also where nobody says that the terminal is gone.

    SIGHUP may be ignored, as under nohup, and does not come where the terminal does not control the session.
    Then what is to be shown blocks, and the input is read, empty, for ever.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Not asked whether it is one: of a terminal that was closed while we were loading, isatty says no.
    threading.Thread(target=_watch_terminal, daemon=True).start()


def _watch_terminal() -> None:
    with contextlib.suppress(termios.error):
        while termios.tcgetattr(0):
            time.sleep(LOOK_AT_TERMINAL_S)
    os.kill(os.getpid(), signal.SIGHUP)
