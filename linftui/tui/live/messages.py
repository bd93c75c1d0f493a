"""What the poller tells the app: small messages, of which a newer one replaces an older in a flood."""

from textual.message import Message

from linftui.devices import DeviceSnapshot
from linftui.tui.live.run_facts import RunFacts
from linftui.tui.live.run_follower import RunNews
from linftui.tui.live.run_list import RunRow


class _Replaceable(Message):
    """Tells all there is to know, so that only the newest of its kind counts."""

    def can_replace(self, message: Message) -> bool:
        return type(message) is type(self)


class RunsListed(_Replaceable):
    """The runs as they are known now; `complete` once each was looked at."""

    def __init__(self, rows: tuple[RunRow, ...], complete: bool) -> None:
        super().__init__()
        self.rows, self.complete = rows, complete


class FactsRead(_Replaceable):
    """What is worth knowing of the run under the cursor."""

    def __init__(self, facts: RunFacts) -> None:
        super().__init__()
        self.facts = facts


class MachineSampled(_Replaceable):
    """The machine's devices now."""

    def __init__(self, machine: DeviceSnapshot) -> None:
        super().__init__()
        self.machine = machine


class RunGrew(Message):
    """What is new of the open run. Not replaceable: the records in it are told once."""

    def __init__(self, news: RunNews) -> None:
        super().__init__()
        self.news = news


class PollerFailed(Message):
    """The reading thread met an error that nobody foresaw; there is nothing to show any more."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
