"""A worker process, as seen from the process that started it.

The worker has its own session, so that a terminal's Ctrl-C or hang-up reaches only the program that watches.
"""

import signal
import subprocess
from pathlib import Path

from linftui.errors import WorkerError
from linftui.launch.environment import START_FOLDER
from linftui.rundir.liveness import describe_process
from linftui.rundir.records import ProcessRecord


class WorkerProcess:
    """A started worker; its output goes to a log file.

    Args:
        command: what to run.
        environment: the worker's environment.
        log: receives stdout and stderr; its folder exists.
        role: the worker's name in state.json, such as "rank-0".

    Raises:
        WorkerError: it cannot be started.
    """

    def __init__(self, command: list[str], environment: dict[str, str], log: Path, role: str) -> None:
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    command,
                    cwd=START_FOLDER,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise WorkerError(f"a worker process cannot be started: {error.strerror or error}") from error
        self.identity: ProcessRecord | None = describe_process(self._process.pid, role)

    def wait(self, seconds: float) -> int | None:
        """The exit code (negative: the signal that ended it), or None if it still runs after this long."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_stop(self) -> None:
        """Asks the worker to end in an orderly way."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the worker at once; does not wait for it."""
        self._process.kill()
