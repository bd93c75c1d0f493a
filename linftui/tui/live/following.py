"""One run that is followed: a handle that whoever asked for it keeps, and closes."""

import threading

from linftui.rundir.paths import RunPaths
from linftui.tui.live.run_follower import RunFollower, RunNews


class Following:
    """A run, followed from its beginning by the poller's thread until it is closed.

    News come one at a time: the next are read once `take_more` says that those before were taken. How one
    listener lags behind does not hold up the news of another run.
    """

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self.closed = False
        self.due = 0.0  # by the monotonic clock: when the poller looks again
        self._follower = RunFollower(paths)
        self._taken = threading.Event()
        self._taken.set()

    def take_more(self) -> None:
        """The last news were taken: more may come."""
        self._taken.set()

    def close(self) -> None:
        """Nobody listens any more: nothing is told from now on."""
        self.closed = True
        self._taken.set()

    def poll(self, patience_s: float) -> RunNews | None:
        """For the poller: what is new, or None where nothing is.

        Raises:
            TimeoutError: the news before were not taken within `patience_s`.
        """
        if not self._taken.wait(patience_s):  # more would only wait in a queue, and keys behind it
            raise TimeoutError
        news = self._follower.poll()
        if news is not None and not self.closed:
            self._taken.clear()
            return news
        return None
