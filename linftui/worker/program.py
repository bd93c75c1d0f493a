"""What the two programs of a worker have in common, as the frame in `__main__` sees them."""

import contextlib
from abc import ABC, abstractmethod
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

from linftui.processes.life_pipe import SupervisorPipe
from linftui.processes.reports import Reporter


@dataclass(frozen=True, kw_only=True)
class WorkerProgram(ABC):
    """A program with the options that `linftui.launch` gives it on its command line.

    `device` is "cpu" or "cuda". The pipes are named as `LifePipe` and `RankReports` name them; without them
    nobody supervises, or nobody listens.
    """

    run: Path
    device: str
    threads: int
    supervisor_pipe: str | None
    report_pipe: str | None

    @classmethod
    def add_options(cls, parser: ArgumentParser) -> None:
        """Adds the options to a parser, each under its field's name."""
        parser.add_argument("run", type=Path)
        parser.add_argument("--device", required=True)
        parser.add_argument("--threads", type=int, required=True)
        parser.add_argument("--supervisor-pipe")
        parser.add_argument("--report-pipe")

    @property
    def rank(self) -> int:
        """Who reports."""
        return 0

    @property
    @abstractmethod
    def error_file(self) -> Path:
        """Where it says why it failed."""

    @property
    @abstractmethod
    def may_wait_forever(self) -> bool:
        """Whether it may be unable to notice by itself that its starter is gone."""

    @property
    @abstractmethod
    def with_less_memory(self) -> str:
        """What to choose that would do with less memory; empty where there is no choice."""

    @abstractmethod
    def announce(self) -> None:
        """Says which process this is, unless its starter knows. Raises RunDirectoryError."""

    @abstractmethod
    def work(self, pipe: SupervisorPipe | None, reporter: Reporter) -> None:
        """Does what it is for, to the end or until it is asked to stop. Raises any error."""


def log(text: str) -> None:
    """Writes to the log, unless its disk is full: that must not change how the work ends."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
