"""How values become text for a terminal: numbers, times, and strangers' strings made harmless.

A record may hold any number that JSON can write; none takes more room than a real one.
"""

import json
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from linftui.recipe.schema import GREATEST_COUNT
from linftui.rundir.records import LONGEST_S, WRITTEN_OUT, jsonable

if TYPE_CHECKING:
    from linftui.rundir.certificates import Certificate
    from linftui.rundir.store import RunSummary


LONGEST_RADIUS = 20  # characters


def clean(text: str) -> str:
    """Text without control characters or terminal escapes, whoever wrote it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def fail(message: str) -> None:
    """One sentence on stderr."""
    print(f"linftui: {clean(message)}", file=sys.stderr)


def note(message: str) -> None:
    """One sentence on stderr about how things go, beside what is printed."""
    print(f"linftui: {clean(message)}", file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """One sentence on stderr about something that does not stop us."""
    print(f"linftui: warning: {clean(message)}", file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document a line on stdout; non-finite numbers as strings."""
    print(json.dumps(jsonable(value)))


def number(value: float | None, digits: int = 4) -> str:
    """A number in a few digits, infinity as its sign, nothing as a dash."""
    if value is None:
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}g}"


def decimal(value: float, places: int) -> str:
    """A number with so many decimals."""
    return f"{value:.{places}f}" if abs(value) < WRITTEN_OUT else number(value)


def count(value: float | None) -> str:
    """A number with its thousands apart and no fraction."""
    return number(value) if value is None or not abs(value) <= GREATEST_COUNT else f"{value:,.0f}"


def radius(run: "RunSummary") -> str:
    """The radius that a run is certified at, exact where that is short."""
    exact = run.eps_exact or "-"
    return clean(exact) if len(exact) <= LONGEST_RADIUS else number(run.eps)


def fraction(value: float | None) -> str:
    """An accuracy in [0, 1]."""
    return "-" if value is None else f"{value:.4f}"


def certificate_text(certificate: "Certificate") -> str:
    """A certificate on a line: its folder's name, and what it proves or why it is unverified."""
    name, summary = certificate.paths.root.name, certificate.summary
    if summary is None:
        return f"{name}: unverified: {certificate.problem}"
    figure = f"certified {fraction(summary.certified_accuracy)}"
    if certificate.problem:
        return f"{name}: unverified: {certificate.problem} (it says {figure})"
    told = ", ".join((figure, *certificate.caveats))
    return f"{name}: {told}" + (f" (of run {certificate.other_name})" if certificate.other_name else "")


def age(since: float | None) -> str:
    """How long ago, in one unit; a dash for a number that is no moment."""
    now = time.time()
    if since is None or not abs(now - since) < LONGEST_S:
        return "-"
    seconds = max(0.0, now - since)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def duration(seconds: float) -> str:
    """A length of time as h:mm:ss or m:ss; a dash for a number that is none."""
    if not abs(seconds) < LONGEST_S:
        return "-"
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def summary_json(run: "RunSummary") -> dict[str, Any]:
    """The object that `linftui show --json` prints; others rely on its keys."""
    keys = (
        "id", "state", "recipe", "epoch", "epochs", "step", "p", "lam", "loss", "clean_accuracy",
        "certified_accuracy", "eps", "attempt", "path",
    )  # fmt: skip
    return {key: getattr(run, key) for key in keys}


def columns(rows: list[list[str]]) -> str:
    """Rows of cells as aligned lines; the first row is the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
