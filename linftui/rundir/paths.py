"""Every path of a run directory, named in one place."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from linftui.recipe.fraction import format_fraction

DEFAULT_ROOT = Path("runs")  # the folder of run directories, in the current folder
CHECKPOINT_NAME = re.compile(r"step-\d{8,}", re.ASCII)


@dataclass(frozen=True)
class RunPaths:
    """The files of one run; `root` is the run directory, whose name is the run's id."""

    root: Path

    @property
    def id(self) -> str:
        return self.root.name

    @property
    def recipe(self) -> Path:
        """The recipe's text as it was given."""
        return self.root / "recipe.yaml"

    @property
    def resolved(self) -> Path:
        """The recipe with overrides applied and every value written out; a resume reads this one."""
        return self.root / "resolved.yaml"

    @property
    def meta(self) -> Path:
        return self.root / "meta.json"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def exit(self) -> Path:
        return self.root / "exit.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def devices(self) -> Path:
        return self.root / "devices.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def certificates(self) -> Path:
        return self.root / "certificates"

    @property
    def control(self) -> Path:
        return self.root / "control"

    @property
    def lock(self) -> Path:
        """Held by the process that supervises or removes the run."""
        return self.control / "supervisor.lock"

    def logs(self, attempt: int) -> Path:
        return self.root / "logs" / f"attempt-{attempt:03d}"

    def rank_log(self, attempt: int, rank: int) -> Path:
        return self.logs(attempt) / f"rank-{rank}.log"

    def supervisor_log(self, attempt: int) -> Path:
        return self.logs(attempt) / "supervisor.log"

    def torchrun_log(self, attempt: int) -> Path:
        return self.logs(attempt) / "torchrun.log"

    def member(self, attempt: int, rank: int) -> Path:
        """Which process a rank is; the rank writes it where `torchrun` started it."""
        return self.logs(attempt) / f"member-{rank}.json"

    def error(self, attempt: int, rank: int) -> Path:
        """Why a rank failed, as it reports itself."""
        return self.logs(attempt) / f"error-{rank}.json"

    def certify_logs(self, tag: str) -> "CertifyLogPaths":
        """The log folder of one certification process."""
        return CertifyLogPaths(self.root / "logs" / f"certify-{tag}")

    def stop_request(self, attempt: int) -> Path:
        """Present once this attempt was asked to stop; later attempts ignore it."""
        return self.control / f"stop-{attempt:03d}.json"

    def kill_request(self, attempt: int) -> Path:
        """Present once a second request was made: the attempt is ended without saving."""
        return self.control / f"kill-{attempt:03d}.json"

    def checkpoint(self, step: int) -> "CheckpointPaths":
        return CheckpointPaths(self.checkpoints / f"step-{step:08d}")

    def certificate(self, name: str) -> "CertificatePaths":
        return CertificatePaths(self.certificates / name)


@dataclass(frozen=True)
class CheckpointPaths:
    """The files of one checkpoint."""

    root: Path

    @property
    def step(self) -> int:
        """The step that the folder is named after."""
        return int(self.root.name.removeprefix("step-"))

    @property
    def model(self) -> Path:
        return self.root / "model.safetensors"

    @property
    def optimizer(self) -> Path:
        return self.root / "optimizer.safetensors"

    @property
    def trainer(self) -> Path:
        return self.root / "trainer.json"

    @property
    def complete(self) -> Path:
        """Written last: without it the folder is not a checkpoint."""
        return self.root / "COMPLETE"

    @property
    def lock(self) -> Path:
        """Held by the processes that certify the checkpoint, or by the one that removes it."""
        return self.root / "use.lock"


@dataclass(frozen=True)
class CertificatePaths:
    """The files of one certificate."""

    root: Path

    @property
    def checkpoint(self) -> str:
        """The name of its checkpoint's folder, taken from its own name."""
        return self.root.name.partition("-eps-")[0]

    @property
    def summary(self) -> Path:
        return self.root / "summary.json"

    @property
    def samples(self) -> Path:
        return self.root / "samples.jsonl"

    @property
    def model(self) -> Path:
        """The network itself, where it is not a checkpoint's: with re-estimated running means."""
        return self.root / "model.safetensors"

    @property
    def curve_png(self) -> Path:
        return self.root / "curve.png"

    @property
    def curve_svg(self) -> Path:
        return self.root / "curve.svg"


@dataclass(frozen=True)
class CertifyLogPaths:
    """The files that one certification process writes about itself."""

    root: Path

    @property
    def log(self) -> Path:
        return self.root / "worker.log"

    @property
    def error(self) -> Path:
        return self.root / "error.json"

    @property
    def worker(self) -> Path:
        """Which process it is."""
        return self.root / "worker.json"

    @property
    def request(self) -> Path:
        """What it was asked to certify, written before it starts."""
        return self.root / "request.json"

    @property
    def task(self) -> Path:
        """Which certificates it is making."""
        return self.root / "task.json"


def certificate_name(checkpoint: str, eps: Fraction, means: str, first: int | None = None) -> str:
    """The name of a certificate's folder; different claims have different names.

    Args:
        checkpoint: the name of the checkpoint's folder.
        eps: the exact radius in pixel units.
        means: "running" or "re-estimated".
        first: the claim covers only this many of the first test images; None: all of them.
    """
    name = f"{checkpoint}-eps-{format_fraction(eps).replace('/', '_')}"
    name += "" if means == "running" else f"-{means}"
    return name if first is None else f"{name}-first-{first}"
