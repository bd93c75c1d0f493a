"""The theorem's conditions, checked on the machine that certifies.

A certificate for image x0 at radius eps says: for every x in [0, 1]^d with |x - x0| <= eps in every pixel,
the network's top class is the label. One pass of outward-rounded intervals proves it for the executed
float32 network and for exact arithmetic over the same parameters, as `linftui.nn.bounds` argues, provided
that the machine's floats behave. Rounding to nearest and denormals are probed below, before a pass and after
it, and certification is refused where they fail. Nothing is contracted or reordered, by construction:
execution is eager, and each operation of the argument is a separate call.
"""

import math

import torch
from torch import Tensor

from linftui.errors import CertificationError
from linftui.nn.net import Net
from linftui.ops import backend_name, inf_dist_bounds

ROUNDING = "every operation outward by one float32 ulp; box ends from exact fractions, rounded outward"


def check_conditions(net: Net, device: torch.device) -> None:
    """Checks the theorem's conditions, as far as they can be checked; called before a pass, and after it.

    Raises:
        CertificationError: one of them does not hold.
    """
    # The CPU computes the ends of the boxes, whatever the device.
    for computes in {torch.device("cpu"), device}:
        check_arithmetic(computes)
    check_net(net)


def check_arithmetic(device: torch.device) -> None:
    """Probes the float32 arithmetic of every thread or lane that will certify, in torch and in the kernels.

    Raises:
        CertificationError: denormals are flushed, or rounding is not to nearest.
    """
    # Loads the kernels before anything is probed: a library may change the arithmetic of its loading thread.
    kernels = backend_name(device)
    parts = torch.get_num_threads() if device.type == "cpu" else 64
    rows = 32768 // 64 * parts  # of 64 numbers: every thread of the pool takes a part of 32,768, its least

    def gap(a: float, b: float) -> Tensor:
        """The bits of |a - b| as torch computes it, with either sign, and as the kernels do.

        Bits, since a comparison of floats might take denormals for zeros as well.
        """
        x = torch.full((rows, 1), a, dtype=torch.float32, device=device)
        w = torch.full((64, 1), b, dtype=torch.float32, device=device)
        by_torch = x - w.T, -(-x - -w.T)
        return torch.stack([*by_torch, *inf_dist_bounds(x, x, w, outward=False)]).view(torch.int32)

    denormals = (gap(1.5 * 2.0**-126, 2.0**-126) == 1 << 22) & (gap(2.0**-149, 0.0) == 1)
    if not bool(denormals.all()):
        raise CertificationError(
            f"float32 denormals are flushed to zero on {device} ({kernels}), which the proof does not allow",
            "torch.set_flush_denormal(True) does this, and so does a library linked with -ffast-math: "
            "certify without them",
        )
    # 1 + 2^-24 is a tie and goes to the even neighbour, 1; a little more goes up.
    one, half_ulp = 0x3F800000, 2.0**-24
    nearest = (gap(1.0, -half_ulp) == one) & (gap(1.0, -half_ulp * 1.0002) == one + 1)
    if not bool(nearest.all()):
        raise CertificationError(f"float32 addition does not round to nearest on {device} ({kernels})")


def check_net(net: Net) -> None:
    """Raises CertificationError unless this is a float32 network in evaluation mode, with a usable std."""
    if any(module.training for module in net.modules()):
        raise CertificationError("the network is in training mode, where its outputs depend on the batch")
    for name, tensor in net.state_dict().items():
        if tensor.dtype != torch.float32:
            raise CertificationError(f"{name} is {tensor.dtype}; certificates are about float32 networks")
    std = net.normalize.std.item()
    if not 0 < std < math.inf:
        raise CertificationError(f"std must be positive and finite, got {std}")
