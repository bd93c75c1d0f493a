"""When something was made, as far as its record can be believed."""

import math
import time
from pathlib import Path

CLOCKS_DIFFER_S = 60.0  # those of two hosts, as far as they are set


def when_made(said: float, record: Path) -> float | None:
    """The moment that a record says, or its file's where it says the future; None where both do.

    A clock was wrong, or somebody wants this to be the newest for ever.
    """
    latest = time.time() + CLOCKS_DIFFER_S
    try:
        written = record.lstat().st_mtime
    except OSError:
        written = math.inf
    return next((moment for moment in (said, written) if 0 <= moment <= latest), None)
