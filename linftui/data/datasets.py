"""Loading a data set by name, and holding a part of it out."""

from pathlib import Path

import torch

from linftui.data.download import ensure
from linftui.data.images import Dataset, ImageSet, fingerprint
from linftui.data.readers import READERS
from linftui.errors import DataError
from linftui.recipe.data import DataSection

_HOLDOUT_SEED = 1


def load_official(data: DataSection) -> Dataset:
    """The data set of official files that a recipe names. Raises DataError."""
    return load_dataset(data.dataset, None if data.root is None else Path(data.root), data.holdout)


def load_dataset(name: str, root: Path | None = None, holdout: int = 0) -> Dataset:
    """Loads a data set (one of `download.DATASETS`), downloading it first where `root` is None.

    `holdout` training images, chosen by a fixed permutation that no recipe's seed changes, are taken out of
    `train` to select the best checkpoint; the rest stay in order. A smaller holdout is part of a larger one.

    Raises `DataError` if files are missing, wrong or cannot be downloaded, or if `holdout` leaves no image.
    """
    folder = ensure(name, root)
    facts = DataSection.registry.kinds[name].facts
    train, test = READERS[name](folder)
    sha256 = fingerprint(test, train)
    held_out = None
    if holdout:
        train, held_out = _split(name, train, holdout)
    return Dataset(name, train, test, held_out, facts.levels, facts.inputs, sha256)


def _split(name: str, train: ImageSet, holdout: int) -> tuple[ImageSet, ImageSet]:
    n = len(train)
    if not 0 < holdout < n:
        raise DataError(f"cannot hold out {holdout} of {name}'s {n} training images", f"choose 0 to {n - 1}")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_HOLDOUT_SEED))
    kept, held_out = order[: n - holdout].sort().values, order[n - holdout :].sort().values
    return train.subset(kept), train.subset(held_out)
