"""l-infinity-distance nets as a library: layers, models, and interval bounds through them."""

from linftui.nn.bounds import IntervalBounds
from linftui.nn.layers import MeanShift, Normalize, NormDistLinear
from linftui.nn.models import DistanceMLP

__all__ = ["DistanceMLP", "IntervalBounds", "MeanShift", "NormDistLinear", "Normalize"]
