"""What all screens share: they know their host, and a refused key says why."""

from typing import Any

from textual.screen import Screen

from linftui.tui.bindings import Command, Keyed, commands_of
from linftui.tui.host import Host
from linftui.tui.live.following import Following
from linftui.tui.live.run_follower import RunNews
from linftui.tui.widgets.key_bar import Available


class Listener(Screen[None]):
    """A screen that receives the app's news; subclasses override what they show."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    def runs_changed(self) -> None:
        """Called when the list of runs has changed."""

    def facts_changed(self) -> None:
        """Called when the facts about the run under the cursor have changed."""

    def machine_changed(self) -> None:
        """Called when the devices have been sampled."""

    def run_grew(self, following: Following, news: RunNews) -> None:
        """Called with the news of a followed run."""

    def status_changed(self) -> None:
        """Called when a background task has reported progress."""


class CommandScreen(Keyed, Listener):
    """A screen with a line of keys, where a refused key says why."""

    def why_not(self, command: str) -> str:
        """Why the command is refused now, as a sentence; empty if it is not."""
        return ""

    def action_command(self, name: str, key: str = "") -> None:
        """Calls the handler of a key, or says why the command is refused."""
        if reason := self.why_not(name):
            self.notify(reason, severity="warning", timeout=4, markup=False)
        else:
            super().action_command(name, key)

    def available(self) -> Available:
        """For the line of keys: the commands, their labels, and whether each would do something now.

        The keys of the focused widget come before the screen's less frequent ones.
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
        """The command's current label."""
        return command.label
