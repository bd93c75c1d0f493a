"""How many elements survived pruning: counted on the device, and read on request.

The counters cost two integer additions per warp and no synchronisation; reading them waits for the device, so
it is done between epochs, not between steps.
"""

from functools import cache

import torch

# p grows while a net trains, and fewer elements survive. Without new counts (a dense kernel counts nothing)
# the share is assumed to fall by this factor per reading, until pruning is tried again.
_FALL = 0.95


class Survivors:
    """Counts of one device, for the forward and the backward.

    Attributes:
        counts: [2, 2] int64 on the device: groups flagged and groups tested, of the forward and the backward.
        rates: shares of groups flagged when last read; None until something was pruned.
    """

    def __init__(self, device: torch.device) -> None:
        self.counts = torch.zeros(2, 2, dtype=torch.int64, device=device)
        self.rates: tuple[float | None, float | None] = (None, None)

    def read(self) -> tuple[float | None, float | None]:
        """Shares since the last reading, which the choice of kernels follows from now on."""
        counts = self.counts.tolist()
        self.counts.zero_()
        forward, backward = (_share(*pair) for pair in zip(counts, self.rates, strict=True))
        self.rates = (forward, backward)
        return self.rates


def _share(counts: list[int], before: float | None) -> float | None:
    flagged, tested = counts
    if tested:
        return flagged / tested
    return None if before is None else before * _FALL


@cache
def survivors_of(device: torch.device) -> Survivors:
    """The counters of a device, which has an index if there can be several."""
    return Survivors(device)
