"""What the command line prints: sentences on stderr, JSON, tables, and runs and certificates as text."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linftui.text import clean, number, share

if TYPE_CHECKING:
    from linftui.rundir.certificates import Certificate
    from linftui.rundir.records import CertificateSummary
    from linftui.rundir.store import RunSummary


LONGEST_RADIUS = 20  # characters


def fail(message: str) -> None:
    """Prints on stderr, in one sentence, what went wrong."""
    note(message)


def note(message: str) -> None:
    """Prints on stderr, in one sentence, what is going on; stdout holds only results."""
    print(f"linftui: {clean(message)}", file=sys.stderr)


def warn(message: str) -> None:
    """Prints a warning on stderr, in one sentence."""
    print(f"linftui: warning: {clean(message)}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Prints one JSON document on a line of stdout; non-finite numbers become strings."""
    from linftui.rundir.records import jsonable

    print(json.dumps(jsonable(value)))


def radius(run: "RunSummary") -> str:
    """The radius that a run is certified at, as its exact fraction if that is short."""
    exact = run.eps_exact or "-"
    return clean(exact) if len(exact) <= LONGEST_RADIUS else number(run.eps)


def certificate_text(certificate: "Certificate") -> str:
    """A certificate on one line: its folder's name, and what it proves or why it is unverified."""
    name, summary = certificate.paths.root.name, certificate.summary
    if summary is None:
        return f"{name}: unverified: {certificate.problem}"
    figure = f"certified {share(summary.certified_accuracy)}"
    if certificate.problem:
        return f"{name}: unverified: {certificate.problem} (it says {figure})"
    proved = ", ".join((figure, *certificate.caveats))
    return f"{name}: {proved}" + (f" (of run {certificate.other_name})" if certificate.other_name else "")


def summary_json(run: "RunSummary") -> dict[str, Any]:
    """The object that `linftui show --json` prints; other programs rely on its keys."""
    keys = (
        "id", "state", "recipe", "epoch", "epochs", "step", "p", "lam", "loss", "clean_accuracy",
        "certified_accuracy", "eps", "attempt", "path",
    )  # fmt: skip
    return {key: getattr(run, key) for key in keys}


def certificate_json(summary: "CertificateSummary", path: Path) -> dict[str, Any]:
    """The object that `linftui certify --json` prints, a line for each run and eps."""
    return {
        "run": summary.run,
        "checkpoint": summary.checkpoint,
        "n": summary.n,
        "eps": summary.eps,
        "eps_exact": summary.eps_exact,
        "clean_accuracy": summary.clean_accuracy,
        "certified_accuracy": summary.certified_accuracy,
        "pgd_accuracy": summary.pgd_accuracy,
        "seconds": summary.seconds,
        "path": str(path),
    }


def aligned(rows: list[list[str]]) -> str:
    """Rows of cells as lines with aligned columns; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
