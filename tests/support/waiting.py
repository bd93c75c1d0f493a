"""Waiting for what other processes do."""

import time
from collections.abc import Callable

PATIENCE_S = 200.0  # far beyond what anything here takes, even on a busy machine


def wait_for(condition: Callable[[], object]) -> None:
    """Looks again and again until something is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
