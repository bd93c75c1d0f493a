"""Evaluation at p = inf: clean and certified accuracy of a whole split.

The bounds are the certificate's own, so the figures on a run's curve are those that `linftui certify` finds
for the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch

from linftui.data.images import ImageSet
from linftui.nn.net import Net
from linftui.nn.verdicts import verdicts
from linftui.train.distributed import own_part, summed


@dataclass(frozen=True)
class EvaluationResult:
    """Accuracies are fractions of `n` images."""

    n: int
    clean_accuracy: float
    certified_accuracy: float


@torch.no_grad()
def evaluate(
    net: Net,
    split: ImageSet,
    eps: Fraction,
    levels: int,
    batch_size: int,
    should_stop: Callable[[], bool],
) -> EvaluationResult | None:
    """Evaluates at p = inf with running means; None where it was asked to stop half way.

    Ranks share the work: each takes its part of every batch, and all get the same result.

    Args:
        net: left in the mode it came in.
        split: images and labels, on the net's device.
        eps: certified radius in pixel units.
        levels: pixel = byte / levels.
        batch_size: images per batch.
        should_stop: called before every batch; the same answer on every rank.
    """
    was_training = net.training
    net.eval()
    counts = torch.zeros(2, dtype=torch.int64, device=split.labels.device)
    try:
        for images, labels in zip(
            split.images.split(batch_size), split.labels.split(batch_size), strict=True
        ):
            if should_stop():
                return None
            result = verdicts(net, own_part(images), own_part(labels), eps, levels)
            counts += torch.stack([result.correct.sum(), result.certified.sum()])
    finally:
        net.train(was_training)
    n = len(split.labels)
    clean, certified = summed(counts).tolist()
    return EvaluationResult(n, clean / n, certified / n)
