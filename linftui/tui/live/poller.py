"""The one thread that reads: it lists the runs, follows the open one, and looks at the machine.

What it learns it posts to the app as messages, at most twice a second each, which is also what bounds how
often the screen is repainted. A key that opens something wakes it, so that nobody waits for its rhythm.
"""

import threading
import time
from collections.abc import Callable

from textual.message import Message

from linftui.devices import DeviceMonitor
from linftui.rundir.paths import RunPaths
from linftui.rundir.store import RunStore
from linftui.tui.live.messages import FactsRead, MachineSampled, PollerFailed, RunGrew, RunsListed
from linftui.tui.live.run_facts import RunFacts, read_facts
from linftui.tui.live.run_follower import RunFollower
from linftui.tui.live.run_list import RunList, RunRow

FOLLOW_S = 0.5
LIST_S = 1.0
TELL_S = 0.5  # while runs are being read for the first time, they are told this often
FACTS_S = 2.0
MACHINE_S = 2.0
TAKING_S = 0.05
SLICE_S = 0.1  # the list of runs is worked on for so long at a time


class Poller(threading.Thread):
    """Reads until it is told to stop.

    Args:
        store: the folder of runs.
        post: called in this thread with each message; false once nobody listens any more.
    """

    def __init__(self, store: RunStore, post: Callable[[Message], object]) -> None:
        super().__init__(name="linftui-poller", daemon=True)
        self._post = post
        self._runs = RunList(store)
        self._listed: tuple[tuple[RunRow, ...], bool] = ((), False)
        self._listed_at = 0.0
        self._follower: RunFollower | None = None
        self._openings = 0
        self._selected: RunPaths | None = None
        self._facts: RunFacts | None = None
        self._monitor = DeviceMonitor()
        self._due: dict[Callable[[], float], float] = {
            self._list: 0.0, self._follow: 0.0, self._read_facts: 0.0, self._sample: 0.0,
        }  # fmt: skip
        self._wake = threading.Event()
        self._taken = threading.Event()  # the app has taken the last news of the open run
        self._taken.set()
        self._anything_may_have_changed = False
        self._asked_to_stop = False

    def open(self, paths: RunPaths | None) -> int:
        """Follows this run, from its beginning; None: none. Returns the number that its news will bear."""
        self._openings += 1
        self._follower = RunFollower(paths, self._openings) if paths else None
        self._wake.set()
        return self._openings

    def select(self, paths: RunPaths | None) -> None:
        """Reads what is worth knowing of this run; None: of none."""
        self._selected = paths
        self._wake.set()

    def look_closely(self) -> None:
        """Looks at everything now: a person has just done something to a run."""
        self._anything_may_have_changed = True
        self._wake.set()

    def take_more(self) -> None:
        """The last news of the open run were taken: more may come."""
        self._taken.set()

    def stop(self) -> None:
        """Ends the thread; returns once it has ended, or after two seconds."""
        self._asked_to_stop = True
        self._wake.set()
        self.join(2.0)

    def run(self) -> None:
        """The thread's life."""
        try:
            while not self._asked_to_stop:
                if self._wake.is_set():
                    self._wake.clear()
                    self._hurry()
                for job, due in self._due.items():
                    if time.monotonic() >= due and not self._asked_to_stop:
                        self._due[job] = time.monotonic() + job()
                self._wake.wait(max(0.0, min(self._due.values()) - time.monotonic()))
        except Exception as error:  # nobody would see it otherwise, and the screen would just stand still
            if not self._asked_to_stop:
                self._post(PollerFailed(error))
        finally:
            self._monitor.close()

    def _hurry(self) -> None:
        self._due.update({self._follow: 0.0, self._read_facts: 0.0})
        if self._anything_may_have_changed:
            self._anything_may_have_changed = False
            self._runs.look_closely()
            self._due[self._list] = 0.0

    def _list(self) -> float:
        """Lists runs; returns, as all jobs do, after how many seconds to come again."""
        through = self._runs.step(SLICE_S)
        told = (self._runs.rows(), self._runs.complete)
        pause = 0.0 if through or not self._listed[0] else TELL_S
        if told != self._listed and time.monotonic() - self._listed_at >= pause:
            self._listed, self._listed_at = told, time.monotonic()
            self._post(RunsListed(*told))
        return LIST_S if through else 0.0

    def _follow(self) -> float:
        follower = self._follower  # another may be put in its place at any moment
        if follower is None:
            return FOLLOW_S
        if not self._taken.wait(TAKING_S):  # more would only wait in a queue, and keys behind it
            return 0.0
        news = follower.poll()
        if news is not None:
            self._taken.clear()
            self._post(RunGrew(news))
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
