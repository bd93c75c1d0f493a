"""Evaluation at p = inf: clean and certified accuracy of a whole split.

The bounds are the certificate's own, so the figures on a run's curve are what `linftui certify` will say
of the same weights.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch

from linftui.data.datasets import ImageSet
from linftui.nn.bounds import certified_margin, pixel_box
from linftui.nn.models import DistanceMLP, strict_prediction, to_pixels
from linftui.train.distributed import own_part, summed

REESTIMATE_IMAGES = 2048


@dataclass(frozen=True)
class Evaluation:
    """Accuracies are fractions of `n` images."""

    n: int
    clean_accuracy: float
    certified_accuracy: float


@torch.no_grad()
def evaluate(
    model: DistanceMLP,
    split: ImageSet,
    eps: Fraction,
    levels: int,
    batch_size: int,
    should_stop: Callable[[], bool],
) -> Evaluation | None:
    """Evaluates at p = inf with running means; None where it was asked to stop half way.

    Ranks share the work: each takes its part of every batch, and all get the same result.

    Args:
        model: left in the mode it came in.
        split: images and labels, on the model's device.
        eps: certified radius in pixel units.
        levels: pixel = byte / levels.
        batch_size: images a batch.
        should_stop: asked before every batch; the same answer on every rank.
    """
    was_training = model.training
    model.eval()
    counts = torch.zeros(2, dtype=torch.int64, device=split.labels.device)
    try:
        for images, labels in zip(
            split.images.split(batch_size), split.labels.split(batch_size), strict=True
        ):
            if should_stop():
                return None
            images, labels = own_part(images), own_part(labels)
            prediction, strict = strict_prediction(model(to_pixels(images, levels), math.inf))
            verdict, _ = certified_margin(model.bounds(pixel_box(images, eps, levels)), labels)
            counts += torch.stack([(strict & (prediction == labels)).sum(), verdict.sum()])
    finally:
        model.train(was_training)
    n = len(split.labels)
    clean, certified = summed(counts).tolist()
    return Evaluation(n, clean / n, certified / n)


def images_for_means(train: ImageSet) -> torch.Tensor:
    """The fixed training images that running means are re-estimated on: evenly spread over the split."""
    n = len(train.labels)
    picked = torch.arange(min(n, REESTIMATE_IMAGES), device=train.images.device)
    return train.images[picked * n // len(picked)]
