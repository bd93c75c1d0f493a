"""The poller's messages: frozen values, which the receiver wraps as it needs."""

from dataclasses import dataclass

from linftui.devices import DeviceSnapshot
from linftui.tui.live.following import Following
from linftui.tui.live.run_facts import RunFacts
from linftui.tui.live.run_follower import RunNews
from linftui.tui.live.run_list import RunRow


@dataclass(frozen=True)
class RunsListed:
    """The runs as known now; `complete` once every run has been read."""

    rows: tuple[RunRow, ...]
    complete: bool


@dataclass(frozen=True)
class FactsRead:
    """Facts about the selected run."""

    facts: RunFacts


@dataclass(frozen=True)
class MachineSampled:
    """A new sample of the machine's devices."""

    machine: DeviceSnapshot


@dataclass(frozen=True)
class RunGrew:
    """News of a followed run. Its records are sent only once, so no later message replaces it."""

    following: Following
    news: RunNews


@dataclass(frozen=True)
class PollerFailed:
    """The reading thread ended with an unexpected error; no more messages will come."""

    error: Exception


PollerMessage = RunsListed | FactsRead | MachineSampled | RunGrew | PollerFailed
