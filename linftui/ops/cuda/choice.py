"""Which kernel runs: by p, by size, and by how many elements were seen to survive pruning.

LINFTUI_CUDA_METHOD=dense or =pruned overrides the choice above p = 8, so that nothing depends on
measurements. Costs are in issue slots per element, read off the disassembly (docs/benchmarks.md); only their
order matters.
"""

import os
from dataclasses import dataclass
from math import ceil, isinf, sqrt
from typing import Literal, get_args

from linftui.errors import DeviceError
from linftui.ops.cuda.powers import form_of

Method = Literal["dense", "pruned"]
OVERRIDE = "LINFTUI_CUDA_METHOD"

LEAST_PRUNED = 8.0  # below, nearly everything survives, and the backward's thresholds exceed float32's range
# Without a measurement: where pruning wins on Gaussian data.
PRUNED_FORWARD_FROM = 40.0
PRUNED_BACKWARD_FROM = 75.0
_JOIN = 2.0  # the time to write and read one more partial result of a tile, in pieces
_LANES_WAIT = 3.0  # a warp takes as long as its fullest lane: mean + 3 standard deviations


@dataclass(frozen=True)
class Cost:
    """The cost of a dense kernel, and of a pruned one, which has a loop and flags.

    Attributes:
        dense, loop: slots per element.
        flag: slots to process one flag.
        groups: groups of four elements that a lane flags before it processes them.
    """

    dense: float
    loop: float
    flag: float
    groups: int


FORWARD = Cost(dense=11.0, loop=3.1, flag=105.0, groups=128)
BACKWARD = Cost(dense=12.7, loop=3.5, flag=130.0, groups=32)


def pruned_slots(cost: Cost, rate: float) -> float:
    """Slots per element of a pruned kernel where `rate` of the groups are flagged."""
    flags = cost.groups * rate
    return cost.loop + min(cost.groups, flags + _LANES_WAIT * sqrt(flags)) * cost.flag / (4 * cost.groups)


def choose_method(p: float, backward: bool, rate: float | None = None) -> Method:
    """The method at p < inf; `rate` is the share of flagged groups that was last measured near this p."""
    forced = os.environ.get(OVERRIDE)
    if forced and forced not in get_args(Method):
        raise DeviceError(f"{OVERRIDE} must be dense or pruned, got {forced!r}", f"unset {OVERRIDE}")
    if form_of(p).power or p < LEAST_PRUNED:
        return "dense"
    if forced:
        return "dense" if forced == "dense" else "pruned"
    if rate is None:
        return "pruned" if p >= (PRUNED_BACKWARD_FROM if backward else PRUNED_FORWARD_FROM) else "dense"
    cost = BACKWARD if backward else FORWARD
    return "pruned" if pruned_slots(cost, rate) < cost.dense else "dense"


def describe(p: float, rates: tuple[float | None, float | None] = (None, None)) -> str:
    """The kernels that train at this p, for people: "forward: pruned; backward: special functions"."""
    if isinf(p):
        return "forward: argmax; backward: scatter"
    parts = []
    for name, backward, rate in (("forward", False, rates[0]), ("backward", True, rates[1])):
        method = choose_method(p, backward, rate)
        parts.append(f"{name}: {method if method == 'pruned' else form_of(p).name}")
    return "; ".join(parts)


def splits(tiles: int, pieces: int, capacity: int, overhead: int) -> int:
    """The number of parts to split the long axis into, so that the last wave of blocks is nearly full.

    128 x 128 tiles of a 512 x 5120 output are 160 blocks: on 264 places, one wave in which 40% stay idle.

    Args:
        tiles: blocks without a split.
        pieces: slabs or steps that each block walks over.
        capacity: blocks that the device runs at once.
        overhead: the fixed cost of a block, in pieces.
    """

    def time(parts: int) -> float:
        waves = ceil(tiles * parts / capacity)
        return waves * (ceil(pieces / parts) + overhead) + _JOIN * parts * tiles / capacity

    return min(range(1, min(16, pieces) + 1), key=time)
