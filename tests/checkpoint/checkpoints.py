"""What the tests of checkpoints share: small ones, saved for real."""

import math

import torch

from linftui.checkpoint import save_checkpoint
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import BestRecord, TrainerRecord, WindowSums

CPU = torch.device("cpu")
ODD = torch.tensor([math.inf, -math.inf, -0.0, 1e-45, 0.1])  # values that a careless format changes


def record_of(step: int, attempt: int = 1, best: int | None = None) -> TrainerRecord:
    return TrainerRecord(
        attempt=attempt, step=step, epoch=step / 12, seed=0, steps_per_epoch=12, recipe_hash="0f",
        window=WindowSums(images=3, loss=0.1), evaluated=True, sha256={}, time=0.0,
        best=None if best is None else BestRecord(step=best, certified_accuracy=0.5),
    )  # fmt: skip


def save(paths: RunPaths, step: int, attempt: int = 1, best: int | None = None) -> TrainerRecord:
    """A checkpoint whose tensors tell its step and attempt."""
    model = {"w": torch.full((4,), float(step)), "odd": ODD}
    return save_checkpoint(
        paths, record_of(step, attempt, best), model, {"m": torch.tensor([float(attempt)])}
    )


def names(paths: RunPaths) -> list[str]:
    return sorted(path.name for path in paths.checkpoints.iterdir())
