"""The runs of a folder, each read again only if its files have changed.

A thousand finished runs cost a few stat calls each; an active run is read every round, since a process that
dies changes no file.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from linftui.errors import LinftuiError
from linftui.rundir.pace import Pace, read_pace
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import StateRecord
from linftui.rundir.state import ACTIVE
from linftui.rundir.store import RunStore, RunSummary, summarise

THOROUGH_ROUNDS = 4  # once in this many rounds, the files of ended runs are checked too
SETTLED_S = 2.0  # a file modified more recently may change again without a new mtime
WATCHED = ("meta.json", "state.json", "exit.json", "metrics.jsonl", "control")


Signature = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RunRow:
    """A run's summary, and what else the table shows of it."""

    summary: RunSummary
    devices: tuple[str, ...]  # of its current attempt: "cpu" or UUIDs
    pace: Pace | None  # None: it is not running, or has not run for long enough

    def eta(self, now: float) -> float | None:
        """Seconds from `now` to the end of the last epoch; None if there is no pace."""
        epochs = self.summary.epochs
        return None if self.pace is None or epochs is None else self.pace.seconds_until(float(epochs), now)

    @property
    def active(self) -> bool:
        """Whether its processes may be running."""
        return self.summary.state in ACTIVE and self.summary.attempt is not None

    @property
    def paths(self) -> RunPaths:
        """Its directory."""
        return RunPaths(Path(self.summary.path))


class RunList:
    """The runs in a store; `step` brings the list up to date a little at a time."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._rows: dict[str, RunRow] = {}
        self._seen: dict[str, Signature] = {}
        self._round: Iterator[None] | None = None
        self._rounds = 0
        self.complete = False  # every run has been read once

    def rows(self) -> tuple[RunRow, ...]:
        """The runs known so far, in no particular order; unchanged ones are the same objects as before."""
        return tuple(self._rows.values())

    def step(self, budget_s: float) -> bool:
        """Works on the current round for about `budget_s` seconds; returns whether it is finished."""
        deadline = time.monotonic() + budget_s
        self._round = self._round or self._look_around()
        for _ in self._round:
            if time.monotonic() > deadline:
                return False
        self._round = None
        self._rounds += 1
        self.complete = True
        return True

    def look_closely(self) -> None:
        """Makes the next round check every run's files, because the user has just done something."""
        self._rounds, self._round = 0, None

    def _look_around(self) -> Iterator[None]:
        folders = self._folders()
        if folders is None:
            return
        for gone in self._rows.keys() - folders.keys():
            del self._rows[gone]
            self._seen.pop(gone, None)
        thorough = self._rounds % THOROUGH_ROUNDS == 0
        for name, path in folders.items():
            row = self._rows.get(name)
            if row is not None and not row.active and not thorough and name in self._seen:
                continue
            signature = _signature(path)
            if signature[0] == (0, 0):  # no meta.json: not a run, or not one yet
                self._rows.pop(name, None)
            elif row is None or row.active or signature != self._seen.get(name):
                self._rows[name] = self._look(self._store.root / name, row)
                if _settled(signature):
                    self._seen[name] = signature
            yield

    def _folders(self) -> dict[str, str] | None:
        """Every folder's path by its name, the newest first; None if the store cannot be listed."""
        found = []
        try:
            with os.scandir(self._store.root) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):  # it has just gone
                        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                            known = entry.name in self._rows  # then its place in the order does not matter
                            date = 0.0 if known else entry.stat(follow_symlinks=False).st_mtime
                            found.append((date, entry.name, entry.path))
        except FileNotFoundError:
            return {}
        except OSError:
            return None
        return {name: path for _, name, path in sorted(found, reverse=True)}

    def _look(self, path: Path, before: RunRow | None) -> RunRow:
        row = read_row(RunPaths(path))
        return before if before is not None and before == row else row


def read_row(paths: RunPaths) -> RunRow:
    """One run, from its directory as it is now; damage is in the summary's `problem`."""
    try:
        summary, devices = summarise(paths), tuple[str, ...]()
    except OSError as error:
        return RunRow(_unreadable(paths, error), (), None)
    try:
        state = read_record(paths.state, StateRecord)
        devices = tuple(state.devices) if state else ()
    except LinftuiError:
        pass  # the summary already has this problem
    pace = None
    if summary.state == "running" and summary.attempt is not None:
        pace = read_pace(paths.metrics, summary.attempt)
    return RunRow(summary, devices, pace)


def _unreadable(paths: RunPaths, error: OSError) -> RunSummary:
    """The summary of a run that cannot be read at all: its name, and why."""
    return RunSummary(
        id=paths.id, state=None, recipe=None, epoch=None, epochs=None, step=None, p=None, lam=None, loss=None,
        clean_accuracy=None, certified_accuracy=None, eps=None, eps_exact=None, attempt=None, created=None,
        path=str(paths.root), problem=cannot_look(paths, error),
    )  # fmt: skip


def cannot_look(paths: RunPaths, error: OSError) -> str:
    """The problem of a run that the file system does not let us read, such as another user's folder."""
    return f"{error.filename or paths.root}: cannot be read: {error.strerror or error}"


def _signature(path: str) -> Signature:
    """Modification time and size of the files that a summary depends on; (0, 0) for a missing one."""
    known = []
    for name in WATCHED:
        try:
            status = os.stat(f"{path}/{name}")
            known.append((status.st_mtime_ns, status.st_size))
        except OSError:
            known.append((0, 0))
    return tuple(known)


def _settled(signature: Signature) -> bool:
    return time.time() - max(date for date, _ in signature) / 1e9 > SETTLED_S
