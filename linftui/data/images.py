"""A data set as tensors.

Images stay bytes until the model gets them, since for a certificate a pixel is exactly byte/255 (digits:
k/16).
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from linftui.recipe.data import Inputs

REESTIMATE_IMAGES = 2048


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels; `indices` number the images in their official split (digits: scikit-learn's
    one array), and so name them for good."""

    images: UInt8[Tensor, "n channels height width"]
    labels: Int64[Tensor, " n"]
    indices: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, positions: Int64[Tensor, " k"]) -> "ImageSet":
        """The images at `positions` of this set, in that order."""
        return ImageSet(self.images[positions], self.labels[positions], self.indices[positions])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set, and what a net must know about it.

    A pixel is exactly byte/`levels`, in [0, 1]. `sha256` is of all images and labels, held out or not.
    """

    name: str
    train: ImageSet
    test: ImageSet
    holdout: ImageSet | None
    levels: int
    inputs: Inputs
    sha256: str


def images_for_means(train: ImageSet) -> UInt8[Tensor, "n channels height width"]:
    """The fixed training images that running means are re-estimated on: evenly spread over the split."""
    n = len(train.labels)
    picked = torch.arange(min(n, REESTIMATE_IMAGES), device=train.images.device)
    return train.images[picked * n // len(picked)]


def fingerprint(*sets: ImageSet) -> str:
    """SHA-256 of each set's image bytes and then its labels, one byte per label, in order."""
    digest = hashlib.sha256()
    for images in sets:
        digest.update(images.images.numpy().data)
        digest.update(images.labels.to(torch.uint8).numpy().data)
    return digest.hexdigest()
