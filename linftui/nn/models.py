"""Whole nets: from pixels in [0, 1] to logits, forward and in intervals."""

import copy
import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from linftui.nn.bounds import IntervalBounds
from linftui.nn.layers import MeanShift, Normalize, NormDistLinear


class DistanceMLP(nn.Module):
    """Distance layers throughout: `depth - 1` hidden ones with mean shift, a last one with bias.

    Logits are the negated distances of the last layer, so the net is 1-Lipschitz from normalised pixels
    to logits in the l-infinity norm at p = inf.

    Args:
        in_shape: (channels, height, width) of an image.
        classes: number of logits.
        width, depth: neurons of a hidden layer; layers in all.
        identity: see `NormDistLinear`; never used in the last layer.
        mean, std: see `Normalize`.
        seed: decides the initial weights.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, int, int],
        classes: int,
        width: int,
        depth: int,
        identity: float,
        mean: tuple[float, ...],
        std: float,
        seed: int,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        sizes = [math.prod(in_shape), *[width] * (depth - 1)]
        self.normalize = Normalize(mean, std)
        self.hidden = nn.ModuleList(
            NormDistLinear(n_in, n_out, identity=identity, generator=generator)
            for n_in, n_out in pairwise(sizes)
        )
        self.shifts = nn.ModuleList(MeanShift(size) for size in sizes[1:])
        self.last = NormDistLinear(sizes[-1], classes, bias=True, generator=generator)

    def _blocks(self) -> Iterator[tuple[NormDistLinear, MeanShift]]:
        layers = cast(Iterable[NormDistLinear], self.hidden)
        shifts = cast(Iterable[MeanShift], self.shifts)
        return zip(layers, shifts, strict=True)

    def forward(self, x: Float[Tensor, "n c h w"], p: float) -> Float[Tensor, "n classes"]:
        """Logits of images in pixel units at this p."""
        z: Tensor = self.normalize(x).flatten(1)
        for layer, shift in self._blocks():
            z = shift(layer(z, p))
        logits: Tensor = -self.last(z, p)
        return logits

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """Bounds of the logits at p = inf, in evaluation, over a box in pixel units."""
        z = self.normalize.bounds(box).flattened()
        for layer, shift in self._blocks():
            z = shift.bounds(layer.bounds(z))
        return self.last.bounds(z).negated()

    @torch.no_grad()
    def with_reestimated_means(self, images: UInt8[Tensor, "n c h w"], levels: int) -> "DistanceMLP":
        """A copy whose running means are those of `images` at p = inf, layer by layer.

        Before p is infinite the running means belong to the finite-p net; the copy shows what that net
        would be worth if training stopped now. It is a different network, and must be named apart.

        Raises:
            ValueError: there is no image to take a mean over.
        """
        if not len(images):
            raise ValueError("there must be at least one image to re-estimate means from")
        model = copy.deepcopy(self).eval()
        z: Tensor = model.normalize(to_pixels(images, levels)).flatten(1)
        for layer, shift in model._blocks():
            z = layer(z, math.inf)
            mean = z.mean(0)
            shift.running_mean.copy_(mean)
            z = z - mean
        return model


def to_pixels(images: UInt8[Tensor, "n c h w"], levels: int) -> Float[Tensor, "n c h w"]:
    """Bytes to pixels in [0, 1]: byte / levels, rounded to nearest."""
    return images.to(torch.float32) / torch.tensor(levels, dtype=torch.float32, device=images.device)


def strict_prediction(
    logits: Float[Tensor, "n classes"],
) -> tuple[Int[Tensor, " n"], Bool[Tensor, " n"]]:
    """The class strictly on top of each row, and whether there is one.

    A tie has no winner, and a row with a NaN or an infinity none either: such an image counts as wrong,
    where taking the first index would count a diverged net as right on every image of class 0.
    """
    ranked = logits.topk(2, dim=1)
    strict = ranked.values[:, 0] > ranked.values[:, 1]
    return ranked.indices[:, 0], strict & logits.isfinite().all(1)
