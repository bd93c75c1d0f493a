"""The one thread that reads: it lists the runs, follows those that are open, and samples the machine.

It posts what it finds as messages, each kind at most twice a second, which also bounds how often a screen is
repainted. Opening something wakes it at once.
"""

import math
import threading
import time
from collections.abc import Callable

from linftui.devices import DeviceMonitor
from linftui.rundir.paths import RunPaths
from linftui.rundir.store import RunStore
from linftui.tui.live.following import Following
from linftui.tui.live.messages import (
    FactsRead,
    MachineSampled,
    PollerFailed,
    PollerMessage,
    RunGrew,
    RunsListed,
)
from linftui.tui.live.run_facts import RunFacts, read_facts
from linftui.tui.live.run_list import RunList, RunRow

FOLLOW_S = 0.5
LIST_S = 1.0
FIRST_LIST_S = 0.5  # while runs are first being read, the list is posted this often
FACTS_S = 2.0
MACHINE_S = 2.0
PATIENCE_S = 0.05
SLICE_S = 0.1  # how long the list of runs is worked on at a time


class Poller(threading.Thread):
    """Reads until `stop` is called.

    Args:
        store: the folder of runs.
        post: called in this thread with each message.
    """

    def __init__(self, store: RunStore, post: Callable[[PollerMessage], object]) -> None:
        super().__init__(name="linftui-poller", daemon=True)
        self._post = post
        self._runs = RunList(store)
        self._listed: tuple[tuple[RunRow, ...], bool] = ((), False)
        self._listed_at = 0.0
        self._followings: list[Following] = []
        self._selected: RunPaths | None = None
        self._facts: RunFacts | None = None
        self._monitor = DeviceMonitor()
        self._due: dict[Callable[[], float], float] = {
            self._list: 0.0, self._follow: 0.0, self._read_facts: 0.0, self._sample: 0.0,
        }  # fmt: skip
        self._wake = threading.Event()
        self._anything_may_have_changed = False
        self._asked_to_stop = False

    def follow(self, paths: RunPaths) -> Following:
        """Follows a run from its beginning, alongside others, until the returned handle is closed."""
        following = Following(paths)
        self._followings.append(following)
        self._wake.set()
        return following

    @property
    def followed(self) -> tuple[Following, ...]:
        """The handles that are open now."""
        return tuple(following for following in self._followings if not following.closed)

    def select(self, paths: RunPaths | None) -> None:
        """Reads the facts of this run from now on; None: of no run."""
        self._selected = paths
        self._wake.set()

    def look_closely(self) -> None:
        """Reads everything now, because the user has just done something to a run."""
        self._anything_may_have_changed = True
        self._wake.set()

    def stop(self) -> None:
        """Ends the thread; returns once it has ended, or after two seconds."""
        self._asked_to_stop = True
        self._wake.set()
        self.join(2.0)

    def run(self) -> None:
        """Reads until stopped (in the thread itself)."""
        try:
            while not self._asked_to_stop:
                if self._wake.is_set():
                    self._wake.clear()
                    self._hurry()
                for job, due in self._due.items():
                    if time.monotonic() >= due and not self._asked_to_stop:
                        self._due[job] = time.monotonic() + job()
                self._wake.wait(max(0.0, min(self._due.values()) - time.monotonic()))
        except Exception as error:  # otherwise it would go unseen, and the screen would just freeze
            if not self._asked_to_stop:
                self._post(PollerFailed(error))
        finally:
            self._monitor.close()

    def _hurry(self) -> None:
        self._due.update({self._follow: 0.0, self._read_facts: 0.0})
        for following in self._followings:
            following.due = 0.0
        if self._anything_may_have_changed:
            self._anything_may_have_changed = False
            self._runs.look_closely()
            self._due[self._list] = 0.0

    def _list(self) -> float:
        """Works on the list of runs; returns, as every job does, in how many seconds to run it again."""
        finished = self._runs.step(SLICE_S)
        found = (self._runs.rows(), self._runs.complete)
        pause = 0.0 if finished or not self._listed[0] else FIRST_LIST_S
        if found != self._listed and time.monotonic() - self._listed_at >= pause:
            self._listed, self._listed_at = found, time.monotonic()
            self._post(RunsListed(*found))
        return LIST_S if finished else 0.0

    def _follow(self) -> float:
        for following in list(self._followings):  # another thread may add one at any moment
            if following.closed:
                self._followings.remove(following)
            elif time.monotonic() >= following.due:
                following.due = time.monotonic() + self._poll(following)
        soonest = min((following.due for following in self._followings), default=math.inf)
        return min(max(0.0, soonest - time.monotonic()), FOLLOW_S)

    def _poll(self, following: Following) -> float:
        try:
            news = following.poll(PATIENCE_S)
        except TimeoutError:
            return 0.0
        if news is not None:
            self._post(RunGrew(following, news))
        return 0.0 if news is not None and news.behind else FOLLOW_S

    def _read_facts(self) -> float:
        if self._selected is not None:
            facts = read_facts(self._selected, self._facts)
            if facts != self._facts:
                self._facts = facts
                self._post(FactsRead(facts))
        return FACTS_S

    def _sample(self) -> float:
        self._post(MachineSampled(self._monitor.sample()))
        return MACHINE_S
