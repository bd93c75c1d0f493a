"""The dashboard app: what is known of the runs, the screens that show it, and the tasks that keys start.

News flows one way: the poller's thread posts a message, the app takes it over into its own thread as
`PollerNews`, stores it and calls the screens in sight. Requests flow the other way: a key calls its handler
in the table of keys, which calls the app as `Host`, and what takes long is done in a thread (`background`).
"""

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

LOOK_AT_TERMINAL_S = 2.0  # how often to check that it is still there
TOASTS = 2  # at once; more would cover a small terminal


class PollerNews(Message):
    """A message of the poller, on its way to the app's own thread."""

    def __init__(self, message: PollerMessage) -> None:
        super().__init__()
        self.message = message

    def can_replace(self, message: Message) -> bool:
        """Only the newest of a kind counts, except for RunGrew, whose records are sent only once."""
        if not isinstance(message, PollerNews) or isinstance(self.message, RunGrew):
            return False
        return type(message.message) is type(self.message)


class Dashboard(Keyed, BackgroundApp):
    """Screens over the runs of one folder.

    Args:
        store: the folder of runs.
        first: a run to open at once, on top of the list.
    """

    CSS_PATH = "linftui.tcss"
    TITLE = "linftui"
    PLACE = "app"
    BINDINGS = textual_bindings("app", priority=True)  # in forms too
    ENABLE_COMMAND_PALETTE = False  # it would bind Textual's key; the table of keys has one
    ALLOW_SELECT = False  # the terminal's own selection works, and repaints nothing

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
        """Shows the list of runs, which stays at the bottom of the stack of screens."""
        self.push_screen(RunsScreen(self))
        if self._first is not None:
            self.open_run(self._first)
        self.poller.start()

    def on_unmount(self) -> None:
        """Stops reading."""
        self.poller.stop()

    @property
    def host(self) -> Host:
        """The app itself, for the keys that work everywhere."""
        return self

    @staticmethod
    def now() -> float:
        """Seconds since 1970; tests stop this clock."""
        return time.time()

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The machine's GPUs, once they have been sampled."""
        return self.machine.gpus if self.machine else ()

    @property
    def listeners(self) -> list[Listener]:
        """The screens that receive news, the topmost first; none while the app is exiting."""
        known = reversed(self.screen_stack) if self.is_running else ()
        return [screen for screen in known if isinstance(screen, Listener) and screen.is_mounted]

    def is_in_sight(self, screen: Screen[None]) -> bool:
        """Whether a screen is on top, or visible below modal ones."""
        return screen in self.in_sight()

    def in_sight(self) -> list[Listener]:
        """The top screen, and those visible below it; the others catch up when they are shown again."""
        found: list[Listener] = []
        for screen in self.listeners:
            found.append(screen)
            if not screen.is_modal:
                break
        return found

    # News from the poller

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
                for screen in self.listeners:  # all of them: records are sent only once
                    screen.run_grew(following, news)
                following.take_more()
            case PollerFailed(error):
                raise error

    # Background tasks

    def status_changed(self) -> None:
        """Shows the progress of background tasks."""
        for screen in self.in_sight():
            screen.status_changed()

    def task_done(self) -> None:
        """Looks at once for what the task may have changed."""
        self.poller.look_closely()

    def show_problem(self, error: LinftuiError) -> None:
        """Shows what went wrong, on top of the current screen."""
        self.push_screen(ProblemScreen(error.message, error.hint))

    def toast(self, text: str) -> None:
        """Shows a sentence in a corner for a few seconds."""
        self.notify(clean(text), timeout=5, markup=False)

    @on(Notify)
    def _make_room(self, message: Notify) -> None:
        """A toast replaces one with the same message, and the oldest beyond `TOASTS`."""
        make_room_for(self, message.notification, TOASTS)

    async def on_event(self, event: Event) -> None:
        """Lets a bound key act before the next key is handled, which may be meant for the screen it opens.

        Textual first passes a key to the focused widget, and looks for bindings once the key has come back;
        by then further keys may be on their way to the old widget. Text fields need that order, except for
        the keys that leave a field: what is typed after them is meant for the next field.
        """
        if isinstance(event, Key) and not event.is_forwarded:
            leaves = event.key in ("tab", "shift+tab")
            if leaves or not isinstance(self.focused, Input):
                active = self.screen.active_bindings.get(event.key)
                if active is not None and await self.run_action(active.binding.action, active.node):
                    return
        await super().on_event(event)

    # What screens call

    def select(self, paths: RunPaths | None) -> None:
        """Reads the facts of this run from now on; None: of no run."""
        self.poller.select(paths)

    def follow(self, paths: RunPaths) -> Following:
        """Follows a run; its news goes to every screen, and the caller closes the handle."""
        return self.poller.follow(paths)

    def open_run(self, paths: RunPaths) -> None:
        """Shows one run."""
        self.push_screen(RunScreen(self, paths))

    def show_help(self) -> None:
        """Shows every key."""
        self.push_screen(HelpScreen())

    def ask(self, question: str, text: str, yes: str, confirmed: Callable[[], None]) -> Question:
        """Asks a yes-or-no question; a yes calls `confirmed`."""
        screen = ConfirmScreen(question, text, yes)
        self.push_screen(screen, lambda answer: confirmed() if answer else None)
        return screen

    def open_certify(self, paths: RunPaths, standing: Standing | None) -> None:
        """Opens the form that certifies a run; `standing` if it is known already."""
        self.push_screen(CertifyScreen(self, paths, standing))

    def open_launch(self) -> None:
        """Opens the form that trains a recipe."""
        self.push_screen(LaunchScreen(self))

    def leave(self) -> None:
        """Exits the dashboard; runs continue."""
        self.exit()

    def suspend_to_shell(self) -> None:
        """Suspends the dashboard as a job of its shell; refuses if no shell could resume it."""
        if self.is_headless or self.is_web or os.getpgrp() == os.getsid(0):
            self.toast("there is no shell here to bring the dashboard back")
        else:
            with self.suspend():  # give the terminal back before stopping
                os.killpg(0, signal.SIGTSTP)  # the whole group: the shell waits for its leader

    def show_palette(self) -> None:
        """Opens the command palette."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every command of the screen below the palette."""
        if isinstance(screen, CommandScreen):
            for command in commands_of(screen.PLACE):
                if command.name not in ("palette", "pane"):
                    title = f"{command.label} ({command.shown})"
                    yield SystemCommand(
                        title, command.help, lambda name=command.name: screen.action_command(name)
                    )


def open_dashboard(runs_dir: Path, open_run: RunPaths | None = None) -> int:
    """Shows the runs of a folder until the user quits; returns the exit code.

    Args:
        runs_dir: the folder of run directories, which need not exist yet.
        open_run: a run to show at once.

    Raises:
        LinftuiError: it is not a folder, or cannot be listed.
    """
    store = RunStore(runs_dir)
    store.require(new=True)
    app = Dashboard(store, open_run)
    for number in WARNING_SIGNALS:  # meant for a run; here they would spoil the terminal
        signal.signal(number, signal.SIG_IGN)
    _end_with_the_terminal()
    app.run()
    if going_on := sum(row.active for row in app.rows):
        runs_are, them = ("runs are", "them") if going_on > 1 else ("run is", "it")
        print(f"{going_on} {runs_are} still going; run linftui to see {them}")
    return app.return_code or 0


def _end_with_the_terminal() -> None:
    """Ends the dashboard when its terminal is gone, even if no signal reports that.

    SIGHUP may be ignored, as under nohup, and is not sent if the terminal does not control the session. Then
    output would block, and input would be read, empty, for ever.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # No check that it is a terminal: isatty says no to one that was closed while the dashboard was loading.
    threading.Thread(target=_watch_terminal, daemon=True).start()


def _watch_terminal() -> None:
    with contextlib.suppress(termios.error):
        while termios.tcgetattr(0):
            time.sleep(LOOK_AT_TERMINAL_S)
    os.kill(os.getpid(), signal.SIGHUP)
