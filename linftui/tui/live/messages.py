"""What the poller says: frozen values, for whoever listens to wrap as it needs them."""

from dataclasses import dataclass

from linftui.devices import DeviceSnapshot
from linftui.tui.live.following import Following
from linftui.tui.live.run_facts import RunFacts
from linftui.tui.live.run_follower import RunNews
from linftui.tui.live.run_list import RunRow


@dataclass(frozen=True)
class RunsListed:
    """The runs as they are known now; `complete` once each was looked at."""

    rows: tuple[RunRow, ...]
    complete: bool


@dataclass(frozen=True)
class FactsRead:
    """What is worth knowing of the selected run."""

    facts: RunFacts


@dataclass(frozen=True)
class MachineSampled:
    """The machine's devices now."""

    machine: DeviceSnapshot


@dataclass(frozen=True)
class RunGrew:
    """What is new of a run that is followed. The records in it are told once: no later one replaces it."""

    following: Following
    news: RunNews


@dataclass(frozen=True)
class PollerFailed:
    """The reading thread met an error that nobody foresaw; nothing more will come."""

    error: Exception


PollerMessage = RunsListed | FactsRead | MachineSampled | RunGrew | PollerFailed
