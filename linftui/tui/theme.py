"""Colours, all from the 256-colour cube, so that they look the same on a terminal without true colour."""

from textual.theme import Theme

THEME = Theme(
    name="linftui",
    primary="#5fafd7",
    secondary="#87afd7",
    accent="#5fafd7",
    success="#87af5f",
    warning="#d7af5f",
    error="#d75f5f",
    foreground="#d0d0d0",
    background="#121212",
    surface="#1c1c1c",
    panel="#262626",
    dark=True,
    variables={
        "muted": "#8a8a8a",  # labels and secondary text
        "faint": "#585858",  # text that matters least
        "rail": "#3a3a3a",  # the empty part of a bar
        "bright": "#eeeeee",
        "cursor": "#303030",  # the row that keys act on
        "block-cursor-background": "#303030",
        "block-cursor-foreground": "#eeeeee",
        "input-cursor-background": "#d0d0d0",
        "input-selection-background": "#3a3a3a",
        "footer-background": "#1c1c1c",
        "scrollbar": "#3a3a3a",
        "scrollbar-hover": "#4e4e4e",
        "scrollbar-active": "#5fafd7",
        "scrollbar-background": "#121212",
        "scrollbar-background-hover": "#121212",
        "scrollbar-background-active": "#121212",
        "scrollbar-corner-color": "#121212",
        "border": "#3a3a3a",
        "border-blurred": "#262626",
    },
)

# A glyph and a colour for every state; the state's name is always shown with them.
STATES: dict[str, tuple[str, str]] = {
    "pending": ("○", "$muted"),
    "starting": ("●", "$accent"),
    "running": ("●", "$success"),
    "stopping": ("◐", "$warning"),
    "stopped": ("■", "$warning"),
    "finished": ("✓", "$accent"),
    "failed": ("✗", "$error"),
    "crashed": ("✗", "$error"),
    "lost": ("?", "$warning"),
    "damaged": ("!", "$error"),
    "gone": ("!", "$error"),  # a run that was open when its directory was removed
}


def state_look(state: str | None) -> tuple[str, str, str]:
    """The glyph, the word and the colour of a run's state; None is a damaged run."""
    word = state or "damaged"
    glyph, colour = STATES[word]
    return glyph, word, colour
