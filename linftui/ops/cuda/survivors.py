"""How many elements survived pruning, counted on the device and read when somebody wants to know.

The counters cost two integer additions a warp and no synchronisation; reading them waits for the device, so
it is done between epochs, not between steps.
"""

from functools import cache

import torch
from torch import Tensor


class Survivors:
    """Counts of one device, for the forward and the backward.

    Attributes:
        counts: [2, 2] int64 on the device: groups flagged and groups tested, of the forward and the backward.
        rates: share of groups flagged when last read; None before, or where nothing was pruned.
    """

    def __init__(self, device: torch.device) -> None:
        self.counts = torch.zeros(2, 2, dtype=torch.int64, device=device)
        self.rates: tuple[float | None, float | None] = (None, None)

    def read(self) -> tuple[float | None, float | None]:
        """Shares since the last reading, which the choice of kernels follows from now on."""
        forward, backward = (_share(counts) for counts in self.counts.cpu())
        self.counts.zero_()
        self.rates = (forward, backward)
        return self.rates


def _share(counts: Tensor) -> float | None:
    flagged, tested = counts.tolist()
    return flagged / tested if tested else None


@cache
def survivors_of(device: torch.device) -> Survivors:
    """The counters of a device."""
    return Survivors(device)
