"""How a section of the check says what it found: one JSON object a line, kept as it comes.

A section may be cut off at its limit; what it had printed by then counts.
"""

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def tell(name: str, **facts: Any) -> None:
    """Prints one row."""
    print(json.dumps({"name": name, **facts}), flush=True)


def conclude(text: str) -> None:
    """The section's line in the table at the end."""
    print(json.dumps({"summary": text}), flush=True)


def gpu(rehearse: bool) -> "torch.device":
    """The GPU; without one the section says so and ends, which is a failure unless it is rehearsed."""
    from linftui.bench.cuda_ops import this_gpu  # torch, which not every section needs
    from linftui.errors import DeviceError

    try:
        return this_gpu()
    except DeviceError as error:
        tell("refused", sentence=str(error))
        conclude(str(error))
        raise SystemExit(0 if rehearse else 1) from None


def arguments(what: str | None) -> argparse.ArgumentParser:
    """The options that every section takes."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--rehearse", action="store_true", help="without a GPU, with little work")
    return parser
