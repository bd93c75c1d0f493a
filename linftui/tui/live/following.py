"""One followed run: a handle that its owner keeps, and closes."""

import threading

from linftui.rundir.paths import RunPaths
from linftui.tui.live.run_follower import RunFollower, RunNews


class Following:
    """A run, followed from its beginning by the poller's thread until it is closed.

    News comes one message at a time: the next is read once `take_more` says that the last one was taken. A
    slow receiver of one run's news does not hold up another run's.
    """

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self.closed = False
        self.due = 0.0  # when the poller reads it next, by the monotonic clock
        self._follower = RunFollower(paths)
        self._taken = threading.Event()
        self._taken.set()

    def take_more(self) -> None:
        """Says that the last news was taken, and more may come."""
        self._taken.set()

    def close(self) -> None:
        """Stops following: no more news comes."""
        self.closed = True
        self._taken.set()

    def poll(self, patience_s: float) -> RunNews | None:
        """For the poller: the news, or None if there is none.

        Raises:
            TimeoutError: the previous news was not taken within `patience_s` seconds.
        """
        if not self._taken.wait(patience_s):  # more news would only fill the app's queue and delay its keys
            raise TimeoutError
        news = self._follower.poll()
        if news is not None and not self.closed:
            self._taken.clear()
            return news
        return None
