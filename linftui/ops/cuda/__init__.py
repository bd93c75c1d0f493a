"""The distance core on NVIDIA GPUs: the functions of `ops/reference.py` for float32 CUDA tensors.

Importing it loads neither CUDA nor a compiler: both wait for the first launch.
"""

from linftui.ops.cuda.backward import inf_dist_backward, norm_dist_backward
from linftui.ops.cuda.choice import describe
from linftui.ops.cuda.forward import inf_dist_argmax, inf_dist_bounds, norm_dist_forward
from linftui.ops.cuda.launcher import backend_name
from linftui.ops.cuda.powers import Exponent
from linftui.ops.cuda.survivors import survivors_of

__all__ = [
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
