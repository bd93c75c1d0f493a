"""The window: sums of named figures over the steps since the last training record.

They stay on the device, so that no step waits for them, and go into checkpoints, so that a resumed run
averages over the same steps.
"""

import torch
from torch import Tensor

from linftui.rundir.records import WindowSums
from linftui.train.distributed import summed


class Window:
    """Sums over images, by name.

    Args:
        device: where the figures are.
    """

    def __init__(self, device: torch.device) -> None:
        self.images = 0
        self._device = device
        self._names: tuple[str, ...] = ()
        self._sums = torch.zeros(0, dtype=torch.float64, device=device)

    def add(self, figures: dict[str, Tensor], images: int) -> None:
        """Adds the figures of one step, summed over all ranks; they have the same names at every step.

        Args:
            figures: this rank's sums over its part of the batch.
            images: the number of images in the whole batch.
        """
        if self._names != tuple(figures):  # at the first step, or the first after a resume
            known = self._values()
            self._arrange({name: known.get(name, 0.0) for name in figures})
        self._sums += summed(torch.stack([figure.double() for figure in figures.values()]))
        self.images += images

    def means(self) -> dict[str, float]:
        """Each figure divided by the number of images."""
        return {name: value / self.images for name, value in self._values().items()}

    def is_finite(self) -> bool:
        """Whether no sum is a NaN or an infinity; waits for the device."""
        return bool(self._sums.isfinite().all())

    def clear(self) -> None:
        """Starts a new window."""
        self._sums.zero_()
        self.images = 0

    def record(self) -> WindowSums:
        """The sums, for a checkpoint."""
        values = self._values()
        common = {name: values.pop(name, 0.0) for name in WindowSums.COMMON}
        return WindowSums(images=self.images, **common, figures=values)

    def restore(self, record: WindowSums) -> None:
        """Takes the sums from a checkpoint."""
        self.images = record.images
        self._arrange({name: getattr(record, name) for name in WindowSums.COMMON} | record.figures)

    def _values(self) -> dict[str, float]:
        return dict(zip(self._names, self._sums.tolist(), strict=True))

    def _arrange(self, values: dict[str, float]) -> None:
        self._names = tuple(values)
        self._sums = torch.tensor(list(values.values()), dtype=torch.float64, device=self._device)
