"""Certifying one checkpoint at each requested radius; torch is imported late, as in `worker.train`."""

from argparse import ArgumentParser
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec import structs

from linftui.errors import RunDirectoryError
from linftui.processes.detaching import detach
from linftui.processes.life_pipe import SupervisorPipe
from linftui.processes.members import announce
from linftui.processes.reports import Reporter
from linftui.recipe.fraction import parse_radius
from linftui.rundir.paths import CertifyLogPaths, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import CertifyRequest, CertifyTask
from linftui.rundir.writer import write_record
from linftui.user_folders import temporary_folder
from linftui.worker.program import WorkerProgram, log
from linftui.worker.stop_flag import StopFlag


@dataclass(frozen=True, kw_only=True)
class CertifyProgram(WorkerProgram):
    """Certifies what a request asks for; the `request` file lies among the certification's logs."""

    request: Path

    @classmethod
    def add_options(cls, parser: ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--request", type=Path, required=True)

    @property
    def logs(self) -> CertifyLogPaths:
        """The files of this certification."""
        return CertifyLogPaths(self.request.parent)

    @property
    def error_file(self) -> Path:
        return self.logs.error

    @property
    def may_wait_forever(self) -> bool:
        return True  # reading may take it long

    @property
    def with_less_memory(self) -> str:
        # The network and the batches are given.
        return "" if self.device == "cpu" else "choose --devices cpu"

    def announce(self) -> None:
        """Announces this process; one without a supervisor detaches from its starter first."""
        announce_here = partial(announce, self.logs.worker, "certify", self.run)
        if self.supervisor_pipe is None:
            detach(announce_here)
        else:
            announce_here()

    def work(self, pipe: SupervisorPipe | None, reporter: Reporter) -> None:
        temporary_folder()
        import torch

        from linftui.certify.certifier import certify
        from linftui.certify.draft import StoppedEarly
        from linftui.certify.subject import load_subject

        paths, device = RunPaths(self.run), torch.device(self.device)
        should_stop = StopFlag(pipe, None, reporter)
        request = _read_request(self.request)
        radii = [parse_radius(text) for text in request.eps]
        subject, skipped = load_subject(paths, request.checkpoint, request.means, request.limit, device)
        warnings = list[str]()

        def warn(warning: str) -> None:
            log(f"warning: {warning}")
            warnings.append(warning)

        for warning in skipped:
            warn(warning)
        task = CertifyTask(
            certificates=[subject.certificate(eps).root.name for eps in radii],
            drafts=[subject.draft(eps).root.name for eps in radii],
            done=0,
            warnings=warnings,
        )
        write_record(self.logs.task, task)
        try:
            for done, eps in enumerate(radii, start=1):
                summary = certify(subject, eps, should_stop, warn)
                write_record(self.logs.task, structs.replace(task, done=done, warnings=warnings))
                log(f"eps {summary.eps_exact}: certified {summary.certified_accuracy:.4f} of {summary.n:,}")
        except StoppedEarly as stopped:
            ended = structs.replace(task, done=done - 1, warnings=warnings, stopped=True)
            write_record(self.logs.task, ended)
            log(str(stopped))


def _read_request(path: Path) -> CertifyRequest:
    request = read_record(path, CertifyRequest)
    if request is None:
        raise RunDirectoryError(f"{path} is missing")
    return request
