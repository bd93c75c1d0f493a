"""Layers without rounding: they change the shape or the sign of their input."""

from jaxtyping import Float
from torch import Tensor, nn

from linftui.nn.bounds import IntervalBounds
from linftui.recipe.schedule import Moment


class Flatten(nn.Module):
    """An image as a vector."""

    def forward(self, x: Float[Tensor, "n c h w"], moment: Moment) -> Float[Tensor, "n features"]:
        """The same numbers, channel by channel and row by row."""
        return x.flatten(1)

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """The interval image."""
        return box.flattened()


class Negate(nn.Module):
    """Changes the sign: a class is likely where its distance is small."""

    def forward(self, x: Float[Tensor, "n f"], moment: Moment) -> Float[Tensor, "n f"]:
        """-x."""
        return -x

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """The interval image."""
        return box.negated()
