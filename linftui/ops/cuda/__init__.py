"""The distance core on NVIDIA GPUs: the functions of `ops/reference.py` for float32 CUDA tensors.

`OPERATIONS` is the table a dispatcher wires; importing it costs neither CUDA nor a compiler, which wait for
the first launch.
"""

from collections.abc import Callable
from typing import Any

from linftui.ops.cuda.backward import inf_dist_backward, norm_dist_backward
from linftui.ops.cuda.choice import describe
from linftui.ops.cuda.exponent import Exponent
from linftui.ops.cuda.forward import inf_dist_argmax, inf_dist_bounds, norm_dist_forward
from linftui.ops.cuda.launcher import backend_name
from linftui.ops.cuda.survivors import survivors_of

# By the names of the torch operators in `ops/registration.py`.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "norm_dist": norm_dist_forward,
    "norm_dist_backward": norm_dist_backward,
    "inf_dist_argmax": inf_dist_argmax,
    "inf_dist_backward": inf_dist_backward,
    "inf_dist_bounds": inf_dist_bounds,
}

__all__ = [
    "OPERATIONS",
    "Exponent",
    "backend_name",
    "describe",
    "inf_dist_argmax",
    "inf_dist_backward",
    "inf_dist_bounds",
    "norm_dist_backward",
    "norm_dist_forward",
    "survivors_of",
]
