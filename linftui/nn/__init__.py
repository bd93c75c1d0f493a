"""l-infinity-distance nets as a library: layers, models, and interval bounds through them."""

from linftui.nn.bounds import IntervalBounds
from linftui.nn.layers import MeanShift, Normalize, NormDistLinear
from linftui.nn.models import DistanceMLP
from linftui.nn.net import Net
from linftui.recipe.schedule import AT_INFINITY, Moment

__all__ = [
    "AT_INFINITY", "DistanceMLP", "IntervalBounds", "MeanShift", "Moment", "Net", "NormDistLinear",
    "Normalize",
]  # fmt: skip
