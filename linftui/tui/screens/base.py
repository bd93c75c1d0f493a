"""What all screens share: their keys come from the one table, and a key that cannot work now says why."""

from textual.screen import Screen

from linftui.tui.bindings import Command, commands_of
from linftui.tui.host import Host
from linftui.tui.live.following import Following
from linftui.tui.live.run_follower import RunNews


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


class CommandScreen(Listener):
    """A screen whose commands are methods `do_<name>`, listed for it in `bindings`."""

    NAME = ""  # its name in the table of commands

    def why_not(self, command: str) -> str:
        """Why the command cannot be done now, as a sentence; empty where it can."""
        return ""

    def action_command(self, name: str, key: str = "") -> None:
        """Does what a key stands for, or says why not."""
        if reason := self.why_not(name):
            self.notify(reason, severity="warning", timeout=4, markup=False)
        else:
            self.run_command(name, key)

    def run_command(self, name: str, key: str = "") -> None:
        """Does a command of this screen; `key` is the one that was pressed, for commands with several."""
        if name == "pane":
            self.do_pane(int(key))
        else:
            getattr(self, f"do_{name}")()

    def available(self) -> list[tuple[str, str, bool]]:
        """For the line of keys: key, label, and whether it would do something now."""
        return [
            (command.shown, self.label(command), not self.why_not(command.name))
            for command in commands_of(self.NAME)
            if command.in_footer
        ]

    def label(self, command: Command) -> str:
        """What the key is called now."""
        return command.label

    def do_pane(self, number: int) -> None:
        """Focuses a pane; screens without panes have none of these keys."""

    def do_palette(self) -> None:
        """Lets a person find a command by its name."""
        self.host.show_palette()

    def do_suspend(self) -> None:
        """Goes to the shell, from which one comes back."""
        self.host.suspend_to_shell()

    def do_help(self) -> None:
        """Shows all keys."""
        self.host.show_help()

    def do_quit(self) -> None:
        """Leaves the dashboard, not the runs."""
        self.host.leave()
