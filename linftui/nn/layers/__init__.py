"""The layers of an l-infinity-distance net, one per file.

Each has a forward, and an interval image (`bounds`) that performs the same float operations in the same
order; together they are what a certificate is about. Values that change from step to step, above all p, are
an argument of the forward, a `Moment`, and never state.
"""

from linftui.nn.layers.distance import NormDistLinear
from linftui.nn.layers.exact import Flatten, Negate
from linftui.nn.layers.mean_shift import MeanShift
from linftui.nn.layers.normalize import Normalize

__all__ = ["Flatten", "MeanShift", "Negate", "NormDistLinear", "Normalize"]
