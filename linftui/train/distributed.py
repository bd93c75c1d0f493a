"""Several ranks as one: which rank this is, its part of a batch, and what all ranks must agree on.

Nothing here pads or repeats an image: a batch is cut into parts whose sizes may differ by one, sums go over
all ranks, and means divide by the size of the whole batch.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from linftui.errors import RankLostError
from linftui.nn.ranks import world_size

# Ranks meet at every step; one that stays away for this long will not come.
PATIENCE = timedelta(minutes=10)


@contextlib.contextmanager
def process_group(rendezvous: Path | None, device: str) -> Iterator[torch.device]:
    """Joins the ranks that `torchrun` started, for as long as the context lasts.

    Args:
        rendezvous: this attempt's folder, where the ranks find each other; None: there is one rank.
        device: "cpu" or "cuda".

    Yields:
        This rank's own device.
    """
    if rendezvous is None:
        yield torch.device(device)
        return
    own = torch.device(device) if device == "cpu" else torch.device(device, int(os.environ["LOCAL_RANK"]))
    if own.type == "cuda":
        torch.cuda.set_device(own)
    ranks = int(os.environ["WORLD_SIZE"])
    try:
        dist.init_process_group(
            # Flags go over gloo on either device: with the GPU each step would wait for them.
            "gloo" if own.type == "cpu" else "cpu:gloo,cuda:nccl",
            # A file, because a store that listens would listen on every network of this machine.
            store=dist.FileStore(str(rendezvous / "ranks"), ranks),  # type: ignore[attr-defined]
            rank=int(os.environ["RANK"]),
            world_size=ranks,
            timeout=PATIENCE,
        )
        yield own
    except RuntimeError as error:
        if _is_loss_of_a_rank(error):
            raise RankLostError("the connection to another rank was lost", "see its log") from error
        raise
    dist.destroy_process_group()  # not after an error: it would wait for ranks that are gone


def _is_loss_of_a_rank(error: RuntimeError) -> bool:
    # gloo has no exception class of its own, only messages that name its files.
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def is_first() -> bool:
    """Whether this is rank 0, which writes for all ranks."""
    return world_size() == 1 or dist.get_rank() == 0


def own_part(batch: Tensor) -> Tensor:
    """This rank's part of a batch, along its first dimension."""
    return batch if world_size() == 1 else batch.tensor_split(world_size())[dist.get_rank()]


def summed(values: Tensor) -> Tensor:
    """The sum over all ranks, in place."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank; all of them must call this at the same moment."""
    return flag if world_size() == 1 else bool(summed(torch.tensor(int(flag))))


def meet() -> None:
    """Waits until all ranks are here."""
    any_rank(False)


def in_parallel(module: nn.Module) -> nn.Module:
    """The module with gradients that are means over ranks; on one rank the module itself."""
    return module if world_size() == 1 else nn.parallel.DistributedDataParallel(module)
