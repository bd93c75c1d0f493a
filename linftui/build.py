"""From a recipe to the things it describes: its data set on a device, and its network."""

from dataclasses import replace

import torch

from linftui.data.images import Dataset, ImageSet
from linftui.nn.net import Net
from linftui.recipe.schema import Recipe


def build_dataset(recipe: Recipe, device: torch.device) -> Dataset:
    """The recipe's whole data set on the device, as bytes. Raises DataError."""
    dataset: Dataset = recipe.data.build()
    return replace(
        dataset,
        train=_on(device, dataset.train),
        test=_on(device, dataset.test),
        holdout=None if dataset.holdout is None else _on(device, dataset.holdout),
    )


def _on(device: torch.device, images: ImageSet) -> ImageSet:
    return ImageSet(images.images.to(device), images.labels.to(device), images.indices.to(device))


def build_net(recipe: Recipe, dataset: Dataset, device: torch.device) -> Net:
    """The recipe's network with its initial weights, which are drawn on the CPU for every device."""
    net: Net = recipe.model.build(dataset.inputs, recipe.seed)
    return net.to(device)
