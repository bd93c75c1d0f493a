"""Pictures of the dashboard's screens, as text that a person can read and compare.

A picture has the characters of the screen, below them the same cells with a letter for how each is painted,
and then what the letters stand for, in the names of the theme's colours.
"""

import string
from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from textual.app import App

from linftui.tui.chart import palette
from support.textual_inside import screen_strips

LETTERS = string.ascii_letters + string.digits
ATTRIBUTES = ("bold", "dim", "italic", "underline", "reverse", "strike")
# Of the names that a colour has in the theme, the first of these.
THEMES = ("foreground", "background", "surface", "panel", "accent", "success", "warning", "error")
CURVES = ("GREEN", "BLUE", "ORANGE", "YELLOW", "RED", "PURPLE", "GREY", "CYAN")
OURS = ("muted", "faint", "rail", "bright", "cursor")


def picture(app: App[Any]) -> str:
    """The screen as it is now."""
    names = _names(app)
    characters, layer, letters = list[str](), list[str](), {"on background": "."}
    for strip in screen_strips(app):
        painted = ""
        for text, style, _ in strip:
            looks = [_look(style or Style(), names, empty=empty) for empty in (False, True)]
            for character in text:
                letter = letters.setdefault(looks[character == " "], LETTERS[len(letters) - 1])
                painted += letter * cell_len(character)
        characters.append(strip.text.rstrip())
        layer.append(painted.rstrip("."))
    legend = [f"{letter}  {look}" for look, letter in letters.items()]
    return "\n".join([*characters, "", *layer, "", *legend, ""])


def _names(app: App[Any]) -> Mapping[str, str]:
    """What colours are called, by their hexadecimal numbers."""
    curves = {name.lower(): colour for name, colour in vars(palette).items() if name in CURVES}
    named = {**{name: app.theme_variables[name] for name in (*THEMES, *OURS)}, **curves}
    return {colour.lower(): name for name, colour in reversed(named.items())}


def _look(style: Style, names: Mapping[str, str], *, empty: bool) -> str:
    """How a cell is painted; of an empty one nothing but its background shows, and what lies over it."""
    visible = ATTRIBUTES[3:] if empty else ATTRIBUTES
    words = [name for name in visible if getattr(style, name)]
    if words or not empty:
        words.append(_name_of(style.color, names))
    return " ".join([*words, "on", _name_of(style.bgcolor, names)])


def _name_of(colour: Color | None, names: Mapping[str, str]) -> str:
    if colour is None or colour.is_default:
        return "default"
    found = colour.get_truecolor().hex
    return names.get(found, found)
