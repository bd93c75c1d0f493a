"""What the tests of supervising share: an attempt followed to its end."""

import time

from linftui.launch.supervisor import Supervisor
from linftui.rundir.records import ExitRecord

PATIENCE_S = 200.0  # far beyond what anything here takes, even on a busy machine


def finish(supervisor: Supervisor) -> ExitRecord:
    """Supervises an attempt to its end."""
    deadline = time.monotonic() + PATIENCE_S
    while (ended := supervisor.poll(0.1)) is None:
        assert time.monotonic() < deadline, "the worker does not end"
    return ended
