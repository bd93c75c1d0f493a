"""The layers of an l-infinity-distance net: normalisation, distance layer, mean shift.

Each has a forward and an interval image (`bounds`) that performs the same float operations in the same
order; together they are what a certificate is about. p is an argument of the forward, never a state.
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from linftui.nn.bounds import IntervalBounds
from linftui.nn.ranks import mean_over_ranks
from linftui.ops import inf_dist_bounds, norm_dist


class Normalize(nn.Module):
    """(x - mean) / std inside the model, with one scalar std, so that eps scales by 1 / std exactly once.

    Args:
        mean: one number a channel.
        std: one positive number for all channels.
    """

    def __init__(self, mean: tuple[float, ...], std: float) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32)[:, None, None])
        # A tensor: torch on CUDA turns division by a Python number into a product with its reciprocal.
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Pixels in [0, 1] to normalised units."""
        return (x - self.mean) / self.std

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """The interval image of a box of pixels."""
        return box.minus(self.mean).divided_by(self.std)


class NormDistLinear(nn.Module):
    """A fully connected layer of distance neurons: y[n, o] = ||x_n - w_o||_p (+ bias).

    Args:
        n_in, n_out: sizes.
        identity: where n_in <= n_out, w[i, i mod n_in] starts at -identity, which lets a deep net begin
            as nearly the identity; 0 leaves the weights as drawn.
        bias: adds a learnable bias, zero at first.
        generator: draws the weights from N(0, 1).

    Source: section 3 of the ICML 2021 paper; the identity start is the published code's `identity_val`.
    """

    def __init__(
        self, n_in: int, n_out: int, *, identity: float = 0.0, bias: bool = False, generator: Generator
    ) -> None:
        super().__init__()
        weight = torch.randn(n_out, n_in, generator=generator)
        if identity and n_in <= n_out:
            rows = torch.arange(n_out)
            weight[rows, rows % n_in] = -identity
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None

    def forward(self, x: Float[Tensor, "n i"], p: float) -> Float[Tensor, "n o"]:
        """Distances at this p."""
        y = norm_dist(x, self.weight, p)
        return y if self.bias is None else y + self.bias

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """The interval image at p = inf."""
        lower, upper = inf_dist_bounds(box.lower, box.upper, self.weight)
        image = IntervalBounds.of(lower, upper, box.finite)
        return image if self.bias is None else image.plus(self.bias)


class MeanShift(nn.Module):
    """Subtracts the batch mean in training (with its gradient), the running mean in evaluation.

    The batch is that of all ranks together. One without an image leaves the running mean as it is. The mean
    is computed in the running mean's dtype, whatever autocast has made of the batch.

    No scale: scaling would break the Lipschitz bound that the whole construction rests on.

    Args:
        features: size of the vectors.
        momentum: weight of the newest batch in the running mean.
    """

    def __init__(self, features: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.running_mean: Tensor
        self.register_buffer("running_mean", torch.zeros(features))

    def forward(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
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
