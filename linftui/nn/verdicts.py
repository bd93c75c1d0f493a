"""The verdict on each image at p = inf, the same in training's evaluations and in certificates."""

from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from linftui.nn.boxes import pixel_box, to_pixels
from linftui.nn.net import Net
from linftui.recipe.schedule import AT_INFINITY


@dataclass(frozen=True)
class Verdicts:
    """What is claimed about each image of a batch."""

    prediction: Int[Tensor, " n"]
    correct: Bool[Tensor, " n"]  # the label is strictly on top at x0
    strict: Bool[Tensor, " n"]  # some class is strictly on top at x0, and all logits are finite
    certified: Bool[Tensor, " n"]
    margin: Float[Tensor, " n"]  # logit units, rounded down; NaN where something was not finite
    finite: Bool[Tensor, " n"]


@torch.no_grad()
def verdicts(
    net: Net, images: UInt8[Tensor, "n c h w"], labels: Int[Tensor, " n"], eps: Fraction, levels: int
) -> Verdicts:
    """Classifies each image, and certifies it at radius eps (pixel units); pixels are exactly byte / levels.

    The net must be in evaluation mode.
    """
    logits = net(to_pixels(images, levels), AT_INFINITY)
    prediction, strict = strict_prediction(logits)
    certified, margin, finite = net.margins(pixel_box(images, eps, levels), labels)
    finite = finite & logits.isfinite().all(1)
    return Verdicts(prediction, strict & (prediction == labels), strict, certified & finite, margin, finite)


def strict_prediction(
    logits: Float[Tensor, "n classes"],
) -> tuple[Int[Tensor, " n"], Bool[Tensor, " n"]]:
    """The class strictly on top of each row, and whether there is one.

    A tie has no winner, and neither has a row with a NaN or an infinity: such an image counts as wrong.
    Taking the first index would count a diverged net as right on every image of class 0.
    """
    ranked = logits.topk(2, dim=1)
    strict = ranked.values[:, 0] > ranked.values[:, 1]
    return ranked.indices[:, 0], strict & logits.isfinite().all(1)
