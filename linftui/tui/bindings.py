"""Every key of the dashboard in one table: dispatch, the line of keys, help and palette are made from it."""

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True)
class Command:
    """Something a person can do.

    A screen does it in its method `do_<name>`, and says in `why_not(name)` why it cannot be done now.
    """

    name: str
    keys: str  # Textual's names for them, with commas between
    shown: str  # the same as a person reads them
    label: str  # in the line of keys
    help: str  # a sentence
    screens: tuple[str, ...]
    in_footer: bool = True


ANYWHERE = ("runs", "run", "text")

COMMANDS = (
    Command("open", "enter", "↵", "open", "Open the run under the cursor.", ("runs",)),
    Command(
        "back", "escape", "esc", "back", "Go back: from a chart to all of them, from a run to the list.",
        ("run", "text"),
    ),
    Command(
        "filter", "slash", "/", "filter",
        "Show only runs whose id, recipe or state holds the text; !text shows the others.", ("runs",),
    ),
    Command(
        "stop", "S", "S", "stop",
        "Ask the run to save a checkpoint and stop; asked again, end it at once.", ("runs", "run"),
    ),
    Command(
        "resume", "U", "U", "resume", "Go on from the newest checkpoint, as a new attempt.", ("runs", "run")
    ),
    Command(
        "certify", "C", "C", "certify",
        "Prove on the test set what the network is worth; past certificates are listed there.",
        ("runs", "run"),
    ),
    Command("logs", "l", "l", "logs", "Read what happened so far, with the training's own log.", ("run",)),
    Command("recipe", "y", "y", "recipe", "Read the recipe, with every value.", ("run",)),
    Command("zoom", "z,enter", "z", "enlarge", "Show the chart in focus alone, or all of them.", ("run",)),
    Command("pane", "1,2,3,4,5", "1-5", "charts", "Focus a chart; tab goes to the next.", ("run",)),
    Command("run", "R", "R", "run", "Train a recipe: choose it, change it, go.", ("runs", "run")),
    Command("sort", "o", "o", "sort", "Sort by the next column.", ("runs",)),
    Command("reverse", "O", "O", "reverse", "Sort the other way round.", ("runs",), in_footer=False),
    Command("follow", "f,end", "f", "follow", "Go to the end and stay there.", ("text",)),
    Command("palette", "colon", ":", "commands", "Find a command by its name (ctrl+p too).", ANYWHERE, False),
    Command("suspend", "ctrl+z", "ctrl+z", "suspend", "Go to the shell; fg comes back.", ANYWHERE, False),
    Command("help", "question_mark", "?", "help", "Show all keys.", ANYWHERE),
    Command("quit", "q,ctrl+c", "q", "quit", "Leave; runs go on.", ANYWHERE),
)  # fmt: skip

BY_NAME = {command.name: command for command in COMMANDS}


def commands_of(screen: str) -> tuple[Command, ...]:
    """What can be done on a screen, in the order of the table."""
    return tuple(command for command in COMMANDS if screen in command.screens)


def textual_bindings(screen: str) -> list[BindingType]:
    """The bindings of a screen; each key calls its `action_command`."""
    return [
        Binding(key, f"command('{command.name}', '{key}')", command.label, show=False, id=f"{screen}.{key}")
        for command in commands_of(screen)
        for key in command.keys.split(",")
    ]


def key_help(screen: str) -> list[tuple[str, str]]:
    """Keys with their sentences: of one screen, or of `everywhere`, which are not told again of a screen."""
    if screen == "everywhere":
        return [(command.shown, command.help) for command in COMMANDS if command.screens == ANYWHERE]
    return [(command.shown, command.help) for command in commands_of(screen) if command.screens != ANYWHERE]
