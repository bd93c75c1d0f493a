"""When something was made, as far as its record can be trusted."""

import math
import time
from pathlib import Path

CLOCKS_DIFFER_S = 60.0  # by how much the clocks of two hosts may differ


def when_made(said: float, record: Path) -> float | None:
    """The moment that a record gives, or its file's time where that lies in the future; None where both do.

    Then a clock was wrong, or someone wants this to be the newest for ever.
    """
    latest = time.time() + CLOCKS_DIFFER_S
    try:
        written = record.lstat().st_mtime
    except OSError:
        written = math.inf
    return next((moment for moment in (said, written) if 0 <= moment <= latest), None)
