"""What all screens share: they know their host, and a key that cannot work now says why."""

from typing import Any

from textual.screen import Screen

from linftui.tui.bindings import Command, Keyed, commands_of
from linftui.tui.host import Host
from linftui.tui.live.following import Following
from linftui.tui.live.run_follower import RunNews
from linftui.tui.widgets.key_bar import Available


class Listener(Screen[None]):
    """A screen that the app hands on to what it learns; each overrides what it shows."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    def runs_changed(self) -> None:
        """The list of runs is another one."""

    def facts_changed(self) -> None:
        """The facts about the run under the cursor are others."""

    def machine_changed(self) -> None:
        """The devices were looked at."""

    def run_grew(self, following: Following, news: RunNews) -> None:
        """A run that is followed has grown, or stands otherwise."""

    def status_changed(self) -> None:
        """Something that is done in the background said how far it is."""


class CommandScreen(Keyed, Listener):
    """A screen with a line of keys, where a key that cannot work now says why."""

    def why_not(self, command: str) -> str:
        """Why the command cannot be done now, as a sentence; empty where it can."""
        return ""

    def action_command(self, name: str, key: str = "") -> None:
        """Does what a key stands for, or says why not."""
        if reason := self.why_not(name):
            self.notify(reason, severity="warning", timeout=4, markup=False)
        else:
            super().action_command(name, key)

    def available(self) -> Available:
        """For the line of keys: what can be done, its label, and whether it would do something now.

        The keys of what is in focus come before those of the screen that are used less.
        """
        own = [
            (command, self.label(command), not self.why_not(command.name))
            for command in commands_of(self.PLACE)
            if command.footer != "never"
        ]
        focused = self.focused
        inner = commands_of(focused.PLACE) if isinstance(focused, Keyed) else tuple[Command[Any], ...]()
        shown = [(command, command.label, True) for command in inner if command.footer != "never"]
        if not shown:
            return own
        often = [key for key in own if key[0].footer == "often"]
        return [*often, *shown, *(key for key in own if key not in often)]

    def label(self, command: Command[Any]) -> str:
        """What the key is called now."""
        return command.label
