"""Every key of the dashboard in one table, with its handler.

Bindings, the line of keys, the keys at the bottom of boxes, the help and the palette are all made from it.
Only the mouse, and the keys that edit text in a field, are left to Textual.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from textual.binding import Binding, BindingType

from linftui.tui import commands
from linftui.tui.places import (
    ActsOnRun,
    Answerable,
    Certify,
    ChartView,
    Choices,
    Filter,
    Form,
    HasHost,
    Leavable,
    Place,
    Run,
    Runs,
    Scrolling,
    Table,
    Text,
)  # fmt: skip

Footer = Literal["often", "seldom", "last", "never"]
V = TypeVar("V")


@dataclass(frozen=True)
class Command(Generic[V]):
    """Something a user can do in some places: screens, focused widgets, or anywhere in the app.

    `do` maps keys, by Textual's names and separated by commas, to handlers; a screen's `why_not(name)` says
    why a command is refused now. The line of keys shows a command `often`; `seldom`: only after the keys of
    the focused widget; `last`: at its right end; or `never`.
    """

    name: str
    shown: str  # the keys as the user sees them
    label: str  # in lines of keys
    help: str  # a sentence
    places: tuple[Place, ...]
    do: Mapping[str, Callable[[V], object]]
    footer: Footer = "often"

    @property
    def keys(self) -> dict[str, Callable[[V], object]]:
        """The handler of each single key."""
        return {key: does for keys, does in self.do.items() for key in keys.split(",")}


ANYWHERE: tuple[Place, ...] = ("runs", "run", "text")
PAST_THE_END = 1_000_000  # in rows: more than any table has

COMMANDS: tuple[Command[Any], ...] = (
    # All runs, and one
    Command[Runs](
        "open", "↵", "open", "Open the run under the cursor.", ("runs",),
        {"enter": lambda runs: runs.open_current()},
    ),
    Command[Leavable](
        "back", "esc", "back", "Go back: from a chart to all of them, from a run to the list.",
        ("run", "text"), {"escape": lambda screen: screen.leave()},
    ),
    Command[Runs](
        "filter", "/", "filter",
        "Show only runs whose id, recipe or state contains the text; !text shows the others.", ("runs",),
        {"slash": lambda runs: runs.begin_filter()},
    ),
    Command[ActsOnRun](
        "stop", "S", "stop", "Ask the run to save a checkpoint and stop; asked again, end it at once.",
        ("runs", "run"), {"S": lambda screen: commands.ask_stop(screen.host, screen.row)},
    ),
    Command[ActsOnRun](
        "resume", "U", "resume", "Resume from the newest checkpoint, as a new attempt.", ("runs", "run"),
        {"U": lambda screen: commands.ask_resume(screen.host, screen.row)},
    ),
    Command[ActsOnRun](
        "certify", "C", "certify",
        "Certify the network on the test set; past certificates are listed there too.",
        ("runs", "run"),
        {"C": lambda screen: commands.ask_certify(screen.host, screen.row, screen.standing)},
    ),
    Command[Run](
        "logs", "l", "logs", "Read what has happened so far, with the training log.", ("run",),
        {"l": lambda run: run.show_log()},
    ),
    Command[Run](
        "recipe", "y", "recipe", "Read the recipe, with every value.", ("run",),
        {"y": lambda run: run.show_recipe()}, "seldom",
    ),
    Command[Run](
        "enlarge", "z", "enlarge", "Show only the focused chart, or all of them again.", ("run",),
        {"z,enter": lambda run: run.enlarge()},
    ),
    Command[Run](
        "pane", "1-5", "charts", "Focus a chart; tab goes to the next.", ("run",),
        {
            "1": lambda run: run.focus_chart(1),
            "2": lambda run: run.focus_chart(2),
            "3": lambda run: run.focus_chart(3),
            "4": lambda run: run.focus_chart(4),
            "5": lambda run: run.focus_chart(5),
            "tab": lambda run: run.focus_next(),
            "shift+tab": lambda run: run.focus_previous(),
        },
        "seldom",
    ),
    Command[HasHost](
        "run", "R", "run", "Train a recipe: choose it, change it, go.", ("runs", "run"),
        {"R": lambda screen: screen.host.open_launch()}, "seldom",
    ),
    Command[Runs](
        "sort", "o", "sort", "Sort by the next column.", ("runs",),
        {"o": lambda runs: runs.sort_by_next()},
    ),
    Command[Runs](
        "reverse", "O", "reverse", "Sort the other way round.", ("runs",),
        {"O": lambda runs: runs.reverse_order()}, "never",
    ),
    Command[Table](
        "unfilter", "esc", "no filter", "Clear the filter.", ("table",),
        {"escape": lambda table: table.drop_filter()}, "never",
    ),
    Command[Table](
        "move", "↑ ↓ j k", "move", "Move; PgUp, PgDn, Home and End too.", ("table",),
        {
            "up,k": lambda table: table.move_cursor(-1),
            "down,j": lambda table: table.move_cursor(1),
            "pageup": lambda table: table.turn_page(-1),
            "pagedown": lambda table: table.turn_page(1),
            "home,g": lambda table: table.move_cursor(-PAST_THE_END),
            "end,G": lambda table: table.move_cursor(PAST_THE_END),
        },
        "never",
    ),
    # The filter, while it is typed
    Command[Filter](
        "accept", "enter", "keep", "Keep the filter and go back to the table.", ("filter",),
        {"enter": lambda field: field.accept()}, "never",
    ),
    Command[Filter](
        "give-up", "esc", "no filter", "Clear the filter.", ("filter",),
        {"escape,ctrl+c": lambda field: field.give_up()}, "never",
    ),
    Command[Filter](
        "point", "↑ ↓", "move", "Move in the table.", ("filter",),
        {"up": lambda field: field.point(-1), "down": lambda field: field.point(1)}, "never",
    ),
    # The focused chart
    Command[ChartView](
        "zoom", "+ -", "zoom", "Zoom in and out.", ("chart",),
        {
            "plus,equals_sign": lambda chart: chart.zoom_step(1),
            "minus": lambda chart: chart.zoom_step(-1),
        },
    ),
    Command[ChartView](
        "crosshair", "← →", "crosshair",
        "Move the crosshair, faster with shift; all charts show the same x.", ("chart",),
        {
            "left": lambda chart: chart.move_crosshair(-1),
            "right": lambda chart: chart.move_crosshair(1),
            "shift+left": lambda chart: chart.move_crosshair(-10),
            "shift+right": lambda chart: chart.move_crosshair(10),
        },
    ),
    Command[ChartView](
        "pan", "< >", "pan", "Move left and right.", ("chart",),
        {
            "less_than_sign,comma": lambda chart: chart.pan_step(-1),
            "greater_than_sign,full_stop": lambda chart: chart.pan_step(1),
        },
    ),
    Command[ChartView](
        "pan-y", "j k", "pan y", "Move down and up.", ("chart",),
        {"j": lambda chart: chart.pan_y_step(-1), "k": lambda chart: chart.pan_y_step(1)}, "never",
    ),
    Command[ChartView](
        "zoom-y", "J K", "zoom y", "Zoom out of y, and in.", ("chart",),
        {"J": lambda chart: chart.zoom_y_step(-1), "K": lambda chart: chart.zoom_y_step(1)}, "never",
    ),
    Command[ChartView](
        "smooth", "s", "smooth", "Smooth the curves more, or not at all.", ("chart",),
        {"s": lambda chart: chart.cycle_smoothing()},
    ),
    Command[ChartView](
        "log-axis", "L", "log axis", "Make the y axis logarithmic, or linear again.", ("chart",),
        {"L": lambda chart: chart.toggle_log_y()},
    ),
    Command[ChartView](
        "reset", "0", "reset", "Reset the view.", ("chart",),
        {"0": lambda chart: chart.start_over()},
    ),
    # A log or a recipe
    Command[Text](
        "follow", "f", "follow", "Go to the end and stay there.", ("text",),
        {"f": lambda text: text.go_to_end()},
    ),
    Command[Scrolling](
        "scroll", "↑ ↓ j k", "scroll", "Scroll; PgUp, PgDn, Home and End too.", ("lines",),
        {
            "up,k": lambda lines: lines.action_scroll_up(),
            "down,j": lambda lines: lines.action_scroll_down(),
            "left,h": lambda lines: lines.action_scroll_left(),
            "right": lambda lines: lines.action_scroll_right(),
            "pageup": lambda lines: lines.action_page_up(),
            "pagedown": lambda lines: lines.action_page_down(),
            "home,g": lambda lines: lines.action_scroll_home(),
            "end,G": lambda lines: lines.action_scroll_end(),
        },
        "never",
    ),
    # Forms
    Command[Choices](
        "choose", "↑ ↓", "choose", "Choose a recipe; enter moves on to the changes.", ("recipes",),
        {
            "up": lambda choices: choices.action_cursor_up(),
            "down": lambda choices: choices.action_cursor_down(),
            "pageup": lambda choices: choices.action_page_up(),
            "pagedown": lambda choices: choices.action_page_down(),
            "home": lambda choices: choices.action_first(),
            "end": lambda choices: choices.action_last(),
            "enter": lambda choices: choices.action_select(),
        },
    ),
    Command[Form](
        "train", "enter", "train it", "Train it as described below the fields.", ("launch",),
        {"enter": lambda form: form.enter()},
    ),
    Command[Form](
        "prove", "enter", "certify", "Certify as the fields say.", ("certify",),
        {"enter": lambda form: form.enter()},
    ),
    Command[Form](
        "next", "tab", "next field", "Go to the next field.", ("launch", "certify"),
        {"tab": lambda form: form.focus_next(), "shift+tab": lambda form: form.focus_previous()},
    ),
    Command[Certify](
        "stop", "ctrl+s", "stop certifying", "Stop the certification of the run.", ("certify",),
        {"ctrl+s": lambda form: form.stop()},  # a plain letter would be typed into a field
    ),
    Command[Leavable](
        "leave", "esc", "leave", "Close the form without training.", ("launch",),
        {"escape,ctrl+c": lambda form: form.leave()},
    ),
    Command[Leavable](
        "close", "esc", "close", "Close the form; a running certification continues.", ("certify",),
        {"escape,ctrl+c": lambda form: form.leave()},
    ),
    # Boxes
    Command[Answerable](
        "yes", "enter", "yes", "Answer yes; y too.", ("question",),
        {"enter,y": lambda question: question.answer(True)},
    ),
    Command[Answerable](
        "no", "esc", "leave it", "Answer no; n and q too.", ("question",),
        {"escape,n,q,ctrl+c": lambda question: question.answer(False)},
    ),
    Command[Leavable](
        "close", "enter", "close", "Close the error message.", ("problem",),
        {"enter,escape,q,ctrl+c,space": lambda problem: problem.leave()},
    ),
    Command[Leavable](
        "close", "esc", "close", "Close the help.", ("help",),
        {"escape,q,question_mark,ctrl+c": lambda shown: shown.leave()},
    ),
    Command[Leavable](
        "close", "esc", "close", "Close the list of commands.", ("palette",),
        {"ctrl+c": lambda palette: palette.leave()},  # there, Textual itself binds escape
    ),
    # Everywhere
    Command[HasHost](
        "palette", ":", "commands", "Find a command by its name (ctrl+p too).", ANYWHERE,
        {"colon": lambda screen: screen.host.show_palette()}, "never",
    ),
    Command[HasHost](
        "suspend", "ctrl+z", "suspend", "Suspend to the shell; fg comes back.", (*ANYWHERE, "app"),
        {"ctrl+z": lambda screen: screen.host.suspend_to_shell()}, "never",
    ),
    Command[HasHost](
        "help", "?", "help", "Show all keys.", ANYWHERE,
        {"question_mark": lambda screen: screen.host.show_help()}, "last",
    ),
    Command[HasHost](
        "quit", "q", "quit", "Quit; runs continue.", ANYWHERE,
        {"q,ctrl+c": lambda screen: screen.host.leave()}, "last",
    ),
    # In forms and boxes too, like ctrl+z
    Command[HasHost](
        "palette", "ctrl+p", "commands", "The same as :.", ("app",),
        {"ctrl+p": lambda app: app.host.show_palette()}, "never",
    ),
    Command[HasHost](
        "quit", "ctrl+q", "quit", "The same as q, from forms too.", ("app",),
        {"ctrl+q": lambda app: app.host.leave()}, "never",
    ),
)  # fmt: skip

# The sections of the help, and the places whose commands each lists.
SECTIONS: tuple[tuple[str, tuple[Place, ...]], ...] = (
    ("The runs", ("runs", "table")),
    ("The filter", ("filter",)),
    ("A run", ("run",)),
    ("The focused chart", ("chart",)),
    ("Training a recipe", ("recipes", "launch")),
    ("Certifying", ("certify",)),
    ("A log or a recipe", ("text", "lines")),
    ("Questions and messages", ("question", "problem", "help", "palette")),
)


class Keyed:
    """A screen, a widget or an app whose keys come from the table."""

    PLACE: ClassVar[Place]

    def action_command(self, name: str, key: str = "") -> None:
        """Calls the handler of a key; without a key, that of the command's first key."""
        does = command_of(self.PLACE, name).keys
        (does[key] if key else next(iter(does.values())))(self)


def commands_of(*places: Place) -> tuple[Command[Any], ...]:
    """The commands of these places, in the order of the table."""
    return tuple(command for command in COMMANDS if set(places) & set(command.places))


def command_of(place: Place, name: str) -> Command[Any]:
    """The command of that name."""
    return next(command for command in commands_of(place) if command.name == name)


def textual_bindings(place: Place, *, priority: bool = False) -> list[BindingType]:
    """The bindings of a place, which call `action_command`; with `priority`, before a text field acts."""
    return [
        Binding(
            key, f"command('{command.name}', '{key}')", command.label,
            show=False, id=f"{place}.{key}", priority=priority,
        )
        for command in commands_of(place)
        for key in command.keys
    ]  # fmt: skip


def help_sections() -> list[tuple[str, list[tuple[str, str]]]]:
    """Every section of the help with its keys and their sentences; what works everywhere is listed once."""
    everywhere = [c for c in COMMANDS if "app" in c.places or set(ANYWHERE) <= set(c.places)]
    found = [("Everywhere", _help_of(everywhere))]
    for title, places in SECTIONS:
        found.append(
            (title, _help_of(command for command in commands_of(*places) if command not in everywhere))
        )
    return found


def _help_of(known: Iterable[Command[Any]]) -> list[tuple[str, str]]:
    return [(command.shown, command.help) for command in known]
