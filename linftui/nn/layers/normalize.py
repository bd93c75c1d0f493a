"""Normalisation as part of the network, so that a certificate is about pixels."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from linftui.nn.bounds import IntervalBounds
from linftui.recipe.schedule import Moment


class Normalize(nn.Module):
    """(x - mean) / std inside the model, with one scalar std, so that eps scales by 1 / std exactly once.

    Args:
        mean: one number per channel.
        std: one positive number for all channels.
    """

    def __init__(self, mean: tuple[float, ...], std: float) -> None:
        super().__init__()
        self._std = std
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32)[:, None, None])
        # A tensor, since torch on CUDA turns division by a Python number into a product with its reciprocal.
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, x: Float[Tensor, "n c h w"], moment: Moment) -> Float[Tensor, "n c h w"]:
        """Pixels in [0, 1] to normalised units."""
        return (x - self.mean) / self.std

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """The interval image of a box of pixels."""
        return box.minus(self.mean).divided_by(self.std)

    def radius(self, eps: float) -> float:
        """A radius in pixel units, converted to normalised units."""
        return eps / self._std
