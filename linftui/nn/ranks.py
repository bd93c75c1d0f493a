"""The ranks that train one network together, as its layers see them.

Each rank holds a part of the batch. Whatever a layer computes from the whole batch comes from sums over all
ranks, with their gradient, so that n ranks act like one rank with the same batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def world_size() -> int:
    """How many ranks train together; 1 where there is no process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _SumOverRanks(torch.autograd.Function):
    """A sum over ranks. Every rank's loss depends on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def mean_over_ranks(x: Float[Tensor, "n f"], of_none: Float[Tensor, " f"]) -> Float[Tensor, " f"]:
    """The mean over the rows of all ranks, which may hold different numbers of them, even none.

    Args:
        x: this rank's rows.
        of_none: the answer where no rank holds a row.
    """
    if world_size() == 1:
        return x.mean(0) if len(x) else of_none
    sums: Tensor = _SumOverRanks.apply(torch.cat([x.sum(0), x.new_full((1,), len(x))]))
    rows = sums[-1]  # stays on the device: reading it would make each step wait
    return torch.where(rows > 0, sums[:-1] / rows.clamp(min=1), of_none)
