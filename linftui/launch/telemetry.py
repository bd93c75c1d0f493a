"""How busy the machine's devices are while a run trains, sampled by its supervisor into devices.jsonl."""

import contextlib
import time
from collections.abc import Sequence

from linftui.devices import DeviceMonitor
from linftui.errors import LinftuiError
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import encode
from linftui.rundir.writer import LineAppender

EVERY_S = 2.0
LATER_EVERY_S = 10.0  # so that a run of days does not fill the disk
LATER_AFTER_S = 600.0


class Telemetry:
    """The samples of one attempt.

    Args:
        paths: the run directory.
        attempt: the attempt's number.
        devices: "cpu", or the UUIDs of the run's GPUs.

    Raises:
        RunDirectoryError: devices.jsonl cannot be written.
    """

    def __init__(self, paths: RunPaths, attempt: int, devices: Sequence[str]) -> None:
        self._log = LineAppender(paths.devices)
        self._attempt = attempt
        self._uuids = [device for device in devices if device != "cpu"]
        self._monitor = DeviceMonitor()
        self._begun = time.monotonic()
        self._due = self._begun

    def sample(self, pids: Sequence[int]) -> None:
        """Takes a sample if one is due; `pids` are the run's own processes."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (EVERY_S if now - self._begun < LATER_AFTER_S else LATER_EVERY_S)
        record = self._monitor.record(attempt=self._attempt, uuids=self._uuids, pids=pids)
        with contextlib.suppress(LinftuiError):  # a full disk ends the devices' curve, not the run
            self._log.append(encode(record))

    def close(self) -> None:
        self._monitor.close()
        self._log.close()
