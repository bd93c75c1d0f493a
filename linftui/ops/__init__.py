"""The distance core, as a library: `norm_dist` and `inf_dist_bounds` on two-dimensional tensors.

One operation carries nearly all the cost of an l-infinity-distance net. `reference` defines it in plain
PyTorch; `cpu` and `cuda` have compiled kernels for it and `backends` chooses; `registration` makes it a torch
operator with a gradient, which everything else calls.
"""

from linftui.ops.backends import backend_name
from linftui.ops.registration import inf_dist_bounds, norm_dist

__all__ = ["backend_name", "inf_dist_bounds", "norm_dist"]
