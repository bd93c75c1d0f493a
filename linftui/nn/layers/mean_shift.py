"""Centring, the only part of batch normalisation that is allowed here."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from linftui.nn.bounds import IntervalBounds
from linftui.nn.ranks import mean_over_ranks
from linftui.recipe.schedule import Moment


class MeanShift(nn.Module):
    """Subtracts the batch mean in training (with its gradient), the running mean in evaluation.

    The batch is that of all ranks together. An empty one leaves the running mean as it is. The mean is
    computed in the running mean's dtype, whatever dtype autocast gave the batch.

    There is no scale: scaling would break the Lipschitz bound that the whole construction rests on.

    Args:
        features: size of the vectors.
        momentum: weight of the newest batch in the running mean.
    """

    def __init__(self, features: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.running_mean: Tensor
        self.register_buffer("running_mean", torch.zeros(features))

    def forward(self, x: Float[Tensor, "n f"], moment: Moment) -> Float[Tensor, "n f"]:
        """Centred x."""
        if not self.training:
            return x - self.running_mean
        mean = mean_over_ranks(x.to(self.running_mean.dtype), self.running_mean)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
        return x - mean

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """The interval image in evaluation."""
        return box.minus(self.running_mean)

    @torch.no_grad()
    def reestimate(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        """Makes the mean of these rows the running mean; returns x centred by it."""
        self.running_mean.copy_(x.mean(0))
        return x - self.running_mean
