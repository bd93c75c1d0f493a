"""When a worker is to stop: there are several ways to ask it to."""

import signal
from pathlib import Path

from linftui.processes.life_pipe import SupervisorPipe
from linftui.processes.reports import Reporter
from linftui.rundir.stopping import WARNING_SIGNALS


class StopFlag:
    """Whether it is time to stop: a request in the run directory, a signal, or the starter's death.

    It is called at every step, so each call also reports that the work goes on.
    """

    def __init__(self, pipe: SupervisorPipe | None, request: Path | None, reporter: Reporter) -> None:
        self._pipe, self._request, self._reporter, self._set = pipe, request, reporter, False
        for number in (signal.SIGTERM, signal.SIGINT, *WARNING_SIGNALS):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self._set = True

    def __call__(self) -> bool:
        self._reporter.move()
        self._set = (
            self._set
            or (self._request is not None and self._request.exists())
            or (self._pipe is not None and self._pipe.closed())
        )
        return self._set
