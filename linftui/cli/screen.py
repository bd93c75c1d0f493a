"""Whether the dashboard can be shown where we are."""

import os
import sys

# Who runs us in one of these reads lines, though there may be a terminal in between.
_LINES_ALONE = ("dumb", "unknown")


def has_screen() -> bool:
    """Whether a person sits at a terminal that can place what it shows: plain lines are for all others."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not why_no_screen()


def has_bars() -> bool:
    """Whether a bar that grows on stderr is seen by somebody."""
    return sys.stderr.isatty() and not why_no_screen()


def why_no_screen() -> str:
    """Why the terminal that we have is none for a dashboard; empty where it is one."""
    term = os.environ.get("TERM", "")
    if term in _LINES_ALONE:
        return f"TERM={term} cannot show it"
    if os.environ.get("CI", "").lower() not in ("", "0", "false", "no"):
        return f"CI={os.environ['CI']} says nobody is watching"
    return ""
