"""The pipe by which a worker notices that its starter is gone: the starter's end, and the worker's."""

import faulthandler
import os
import select
import threading
import time

from linftui.processes.pipe_ends import name_of_end, open_end


class LifePipe:
    """A pipe that is never written to: its reader sees the end of file once this process is gone, however.

    The reader opens it by `name`.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self.name = name_of_end(self._reading)

    def close(self) -> None:
        """Closes it; a worker that still runs takes that for our death."""
        os.close(self._writing)
        os.close(self._reading)


class SupervisorPipe:
    """The reading end of the supervisor's pipe, whose end of file is the supervisor's death.

    Args:
        name: as `LifePipe` gives it.

    Raises:
        WorkerError: the supervisor is already gone.
    """

    def __init__(self, name: str) -> None:
        self._fd = open_end(name, os.O_RDONLY)

    def closed(self) -> bool:
        """Whether the supervisor is gone."""
        try:
            return os.read(self._fd, 1) == b""
        except BlockingIOError:
            return False

    def end_process_once_closed(self, patience_s: float) -> None:
        """From now on this process outlives the supervisor by at most `patience_s` seconds."""
        threading.Thread(target=self._watch, args=(patience_s,), daemon=True).start()

    def _watch(self, patience_s: float) -> None:
        poll = select.poll()
        poll.register(self._fd, 0)  # a hang-up is always reported
        poll.poll()
        time.sleep(patience_s)
        faulthandler.dump_traceback()
        os._exit(1)
