"""A worker process seen from the one that started it.

The worker has a session of its own, so that a terminal's Ctrl-C or hang-up reaches only the one who
watches; and it holds the reading end of a pipe, so that it notices when its starter is gone.
"""

import os
import signal
import subprocess
from pathlib import Path

from linftui.errors import WorkerError
from linftui.rundir.liveness import describe_process
from linftui.rundir.records import ProcessRecord


class WorkerProcess:
    """A started worker; its output goes to a log file.

    Args:
        command: what to run; `--supervisor-fd N` is added to it.
        environment: the worker's environment.
        log: receives stdout and stderr; its folder exists.
        role: the worker's name in state.json, such as "rank-0".
    """

    def __init__(self, command: list[str], environment: dict[str, str], log: Path, role: str) -> None:
        reading, self._writing = os.pipe()
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*command, "--supervisor-fd", str(reading)],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(reading,),
                    start_new_session=True,
                )
        except OSError as error:
            os.close(self._writing)
            raise WorkerError(f"a worker process cannot be started: {error.strerror or error}") from error
        finally:
            os.close(reading)
        self.identity: ProcessRecord | None = describe_process(self._process.pid, role)

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it), or None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """`poll` after waiting for at most so long."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_stop(self) -> None:
        """Lets the worker come to an orderly end."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the worker at once; does not wait for it, so a signal handler may call this."""
        self._process.kill()

    def close(self) -> None:
        """Closes our end of the pipe; a worker that still runs takes it for our death."""
        os.close(self._writing)
