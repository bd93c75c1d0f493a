"""The layer that the nets are named after: its neurons are distances."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from linftui.nn.bounds import IntervalBounds
from linftui.ops import inf_dist_bounds, norm_dist
from linftui.recipe.schedule import Moment


class NormDistLinear(nn.Module):
    """A fully connected layer of distance neurons: y[n, o] = ||x_n - w_o||_p (+ bias).

    Args:
        n_in, n_out: number of inputs and outputs.
        identity: where n_in <= n_out, w[i, i mod n_in] starts at -identity, so that a deep net starts out
            close to the identity; 0 leaves the weights as drawn.
        bias: adds a learnable bias, initially zero.
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

    def forward(self, x: Float[Tensor, "n i"], moment: Moment) -> Float[Tensor, "n o"]:
        """Distances at this moment's p."""
        y = norm_dist(x, self.weight, moment.p)
        return y if self.bias is None else y + self.bias

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """The interval image at p = inf."""
        lower, upper = inf_dist_bounds(box.lower, box.upper, self.weight)
        image = IntervalBounds.of(lower, upper, box.finite)
        return image if self.bias is None else image.plus(self.bias)
