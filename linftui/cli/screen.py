"""Whether this terminal can show the dashboard."""

import os
import sys

# A program that runs linftui with one of these reads plain lines, even through a terminal.
_LINES_ALONE = ("dumb", "unknown")


def has_screen() -> bool:
    """Whether a user sits at a terminal that can draw the dashboard; otherwise output is plain lines."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not why_no_screen()


def has_bars() -> bool:
    """Whether a user sees progress bars on stderr."""
    return sys.stderr.isatty() and not why_no_screen()


def why_no_screen() -> str:
    """Why this terminal cannot show the dashboard; empty if it can."""
    term = os.environ.get("TERM", "")
    if term in _LINES_ALONE:
        return f"TERM={term} cannot show it"
    if os.environ.get("CI", "").lower() not in ("", "0", "false", "no"):
        return f"CI={os.environ['CI']} says nobody is watching"
    return ""
