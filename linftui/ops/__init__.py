"""The distance core, as a library: `norm_dist` and `inf_dist_bounds` on two-dimensional tensors.

One operation carries nearly all the cost of an l-infinity-distance net. `reference` defines it in plain
PyTorch; `registration` makes it a torch operator with a gradient and is what everything else calls.
"""

from linftui.ops.registration import backend_name, inf_dist_bounds, norm_dist

__all__ = ["backend_name", "inf_dist_bounds", "norm_dist"]
