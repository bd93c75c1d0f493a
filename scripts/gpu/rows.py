"""How a section of the check says what it found: one JSON object a line, kept as it comes.

A section may be cut off at its limit; what it had printed by then counts.
"""

import argparse
import json
from typing import Any


def tell(name: str, **facts: Any) -> None:
    """Prints one row."""
    print(json.dumps({"name": name, **facts}), flush=True)


def conclude(text: str) -> None:
    """The section's line in the table at the end."""
    print(json.dumps({"summary": text}), flush=True)


def arguments(what: str | None) -> argparse.ArgumentParser:
    """The options that every section takes."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, with little work")
    return parser
