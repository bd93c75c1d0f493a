"""Reports a run's events while one of its logs is followed, since a healthy rank logs next to nothing."""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from linftui.cli.render import note
from linftui.errors import LinftuiError
from linftui.rundir.ending import read_why_it_ended
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_record
from linftui.rundir.records import EventRecord, StateRecord
from linftui.rundir.state import run_state


class EventReporter:
    """Reports which log is followed, the attempt's latest event, each new one, and how it ended."""

    def __init__(self, paths: RunPaths, attempt: int, log: Path) -> None:
        self._paths, self._attempt, self._reader = paths, attempt, RunReader(paths)
        note(f"following {log} until attempt {attempt} ends; the run's events are printed here meanwhile")
        self._report(deque(self._events(), maxlen=1))

    def report_events(self) -> None:
        """Reports the new events."""
        self._report(self._events())

    def report_ending(self) -> None:
        """Reports how the attempt ended, and why; reports nothing if the run is damaged by then."""
        with contextlib.suppress(LinftuiError):
            state = run_state(self._paths)
            current = read_record(self._paths.state, StateRecord)
            if current is not None and current.attempt != self._attempt:
                note(f"attempt {self._attempt} is over, and attempt {current.attempt} has begun")
            else:
                why = read_why_it_ended(self._paths, state, self._attempt)
                note(": ".join(filter(None, (f"attempt {self._attempt} {state}", why))))

    def _events(self) -> Iterator[EventRecord]:
        with contextlib.suppress(LinftuiError):  # the log is still readable
            for event in self._reader.each_event():
                if event.attempt == self._attempt:
                    yield event

    @staticmethod
    def _report(events: Iterable[EventRecord]) -> None:
        for event in events:
            note(f"{event.event}: {event.message}")
