"""Starting a certification as a worker process of its own, and following it through the run directory."""

import os
import time
from fractions import Fraction

from linftui.errors import LinftuiError, WorkerError
from linftui.launch.plan import LaunchPlan
from linftui.launch.worker_process import WorkerProcess
from linftui.recipe.schema import format_fraction
from linftui.rundir.paths import CertificatePaths, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import CertificateSummary, CertifyTask, ErrorRecord
from linftui.rundir.writer import cannot_write


class Certification:
    """A running certification of one run, at one or more radii.

    Args:
        paths: the run directory.
        plan: device and threads.
        radii: exact radii in pixel units.
        checkpoint: "latest", "best" or a step.
        means: "running" or "re-estimated".
        limit: the first so many test images; None: all of them.
    """

    def __init__(
        self,
        paths: RunPaths,
        plan: LaunchPlan,
        radii: list[Fraction],
        checkpoint: str,
        means: str,
        limit: int | None,
    ) -> None:
        self.paths = paths
        self._logs = paths.certify_logs(f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            self._logs.root.mkdir(parents=True)
        except OSError as error:
            raise cannot_write(self._logs.root, error) from error
        limited = [] if limit is None else ["--limit", str(limit)]
        self._worker = WorkerProcess(
            plan.worker_command(
                "certify", str(paths.root), "--logs", str(self._logs.root), "--checkpoint", checkpoint,
                "--means", means, "--eps", ",".join(map(format_fraction, radii)), *limited,
            ),
            plan.environment(),
            self._logs.log,
            "certify",
        )  # fmt: skip

    def wait(self, seconds: float) -> int | None:
        """The worker's exit code once it has ended, waiting for at most so long."""
        return self._worker.wait(seconds)

    def ask_to_stop(self) -> None:
        """Lets it stop after the batch it is at; certificates that are whole by then are kept."""
        self._worker.ask_to_stop()

    def kill(self) -> None:
        """Ends it at once."""
        self._worker.kill()

    def close(self) -> None:
        """Lets go of it once it has ended."""
        self._worker.close()

    def progress(self) -> list[tuple[CertificatePaths, CertificateSummary | None]]:
        """Its certificates in order, each with what is known so far; `complete` ones are whole."""
        task = read_record(self._logs.task, CertifyTask)
        if task is None:
            return []
        known: list[tuple[CertificatePaths, CertificateSummary | None]] = []
        for number, (name, draft) in enumerate(zip(task.certificates, task.drafts, strict=True)):
            # Only what this process made: an earlier certificate of the same name is not its progress.
            source = self.paths.certificate(name if number < task.done else draft)
            known.append((self.paths.certificate(name), read_record(source.summary, CertificateSummary)))
        return known

    def warnings(self) -> list[str]:
        """What it noticed and passed over."""
        task = read_record(self._logs.task, CertifyTask)
        return task.warnings if task else []

    def failure(self, code: int) -> LinftuiError:
        """Why it failed."""
        error = read_record(self._logs.error, ErrorRecord)
        if error is None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return WorkerError(f"the certification process {how}", f"its log is {self._logs.log}")
        failure = WorkerError(error.message, error.hint)
        failure.exit_code = error.exit_code
        return failure
