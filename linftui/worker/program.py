"""What the two programs of a worker have in common, as `__main__` uses them."""

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

    `device` is "cpu" or "cuda". The pipes have the names that `LifePipe` and `RankReports` give them; None:
    there is no supervisor, or no reader of reports.
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
        """The rank under which it reports."""
        return 0

    @property
    @abstractmethod
    def error_file(self) -> Path:
        """Where it writes why it failed."""

    @property
    @abstractmethod
    def may_wait_forever(self) -> bool:
        """Whether it may be unable to notice by itself that its starter is gone."""

    @property
    @abstractmethod
    def with_less_memory(self) -> str:
        """A hint at what needs less memory; empty where there is no choice."""

    @abstractmethod
    def announce(self) -> None:
        """Records which process this is, unless its starter knows. Raises RunDirectoryError."""

    @abstractmethod
    def work(self, pipe: SupervisorPipe | None, reporter: Reporter) -> None:
        """Does the program's work, to the end or until it is asked to stop. Raises any error."""


def log(text: str) -> None:
    """Writes to the log, unless its disk is full: that must not change how the work ends."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
