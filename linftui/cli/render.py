"""How values become text for a terminal: numbers, times, and strangers' strings made harmless."""

import json
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from linftui.rundir.records import jsonable

if TYPE_CHECKING:
    from linftui.rundir.certificates import Certificate
    from linftui.rundir.store import RunSummary


def clean(text: str) -> str:
    """Text without control characters or terminal escapes, whoever wrote it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def fail(message: str) -> None:
    """One sentence on stderr."""
    print(f"linftui: {clean(message)}", file=sys.stderr)


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
    return f"{name}: {figure}" + (f" (of run {certificate.other_name})" if certificate.other_name else "")


def age(since: float | None) -> str:
    """How long ago, in one unit."""
    if since is None:
        return "-"
    seconds = max(0.0, time.time() - since)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def duration(seconds: float) -> str:
    """A length of time as h:mm:ss or m:ss."""
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
