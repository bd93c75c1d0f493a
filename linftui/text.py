"""How values become text, on the command line and on the dashboard: numbers, and strangers' strings.

A record may hold any number that JSON can write; none takes more room than a real one.
"""

import math
import time

from linftui.recipe.bounds import GREATEST_COUNT
from linftui.rundir.records import LONGEST_S, WRITTEN_OUT


def clean(text: str) -> str:
    """Text on one line without control characters or terminal escapes, whoever wrote it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def number(value: float | None, digits: int = 4) -> str:
    """A number in a few digits, infinity as its sign, nothing as a dash."""
    if value is None:
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e")


def decimal(value: float, places: int) -> str:
    """A number with so many decimals."""
    return f"{value:.{places}f}" if abs(value) < WRITTEN_OUT else number(value)


def count(value: float | None) -> str:
    """A number with its thousands apart and no fraction."""
    return number(value) if value is None or not abs(value) <= GREATEST_COUNT else f"{value:,.0f}"


def age(since: float | None, now: float | None = None) -> str:
    """How long ago a moment was, in one unit; a dash for a number that is no moment."""
    now = time.time() if now is None else now
    if since is None or not abs(now - since) < LONGEST_S:
        return "-"
    seconds = max(0.0, now - since)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def wilson(share: float, n: int) -> float:
    """Half the width of the 95% Wilson score interval of a share seen in n images."""
    if n <= 0:
        return 1.0
    share = min(max(share, 0.0), 1.0)  # a stranger's certificate may say anything
    z = 1.96
    return float(z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5)
