"""Whole nets."""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from linftui.nn.layers import Flatten, MeanShift, Negate, Normalize, NormDistLinear
from linftui.nn.net import Layer, Net
from linftui.recipe.data import Inputs
from linftui.recipe.model import MLP


class DistanceMLP(Net):
    """Distance layers throughout: `depth - 1` hidden ones with mean shift, a last one with bias.

    Logits are the negated distances of the last layer, so the net is 1-Lipschitz from normalised pixels
    to logits in the l-infinity norm at p = inf.

    Args:
        in_shape: (channels, height, width) of an image.
        classes: number of logits.
        width, depth: neurons per hidden layer; number of layers, the last included.
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
        self.flatten, self.negate = Flatten(), Negate()

    @classmethod
    def of(cls, model: MLP, inputs: Inputs, seed: int) -> "DistanceMLP":
        """The net that a recipe describes, for these images."""
        return cls(
            in_shape=inputs.shape,
            classes=inputs.classes,
            width=model.width,
            depth=model.depth,
            identity=model.identity,
            mean=inputs.mean,
            std=inputs.std,
            seed=seed,
        )

    def layers(self) -> Iterator[Layer]:
        """From pixels to logits."""
        hidden = cast(Iterable[NormDistLinear], self.hidden)
        shifts = cast(Iterable[MeanShift], self.shifts)
        yield self.normalize
        yield self.flatten
        for distance, shift in zip(hidden, shifts, strict=True):
            yield distance
            yield shift
        yield self.last
        yield self.negate
