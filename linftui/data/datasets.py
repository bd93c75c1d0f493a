"""The data sets as tensors: official bytes in, uint8 images and labels out.

Images stay bytes until the model gets them, since for a certificate a pixel is exactly byte/255 (digits:
k/16). The parsers trust no file: one with the wrong shape, or cut short, is an error that names it.
"""

import gzip
import hashlib
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from linftui.data.download import ensure
from linftui.errors import DataError
from linftui.files import open_regular
from linftui.recipe.data import DataSection, Inputs

Bytes = UInt8[np.ndarray, "..."]

_HOLDOUT_SEED = 1
REESTIMATE_IMAGES = 2048
_DIGITS_SEED, _DIGITS_TRAIN = 0, 1437
_CIFAR10_SHAPE = (3, 32, 32)
_CIFAR10_BATCH = 10_000
_CLASSES = 10  # of MNIST and CIFAR-10
_IDX_UNSIGNED_BYTE = 0x08
_GZIP_OVERHEAD = 1 << 12
_SPARE = 1 << 16  # how many surplus bytes are unpacked, to report their number


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
    train, test = _READERS[name](folder)
    sha256 = fingerprint(test, train)
    held_out = None
    if holdout:
        train, held_out = _split(name, train, holdout)
    return Dataset(name, train, test, held_out, facts.levels, facts.inputs, sha256)


def images_for_means(train: ImageSet) -> UInt8[Tensor, "n channels height width"]:
    """The fixed training images that running means are re-estimated on: evenly spread over the split."""
    n = len(train.labels)
    picked = torch.arange(min(n, REESTIMATE_IMAGES), device=train.images.device)
    return train.images[picked * n // len(picked)]


def read_idx(path: Path, shape: tuple[int, ...]) -> Bytes:
    """Reads a gzipped idx file of unsigned bytes (the format of yann.lecun.com/exdb/mnist).

    Returns an array of `shape`; raises `DataError` if the file is damaged or has another type or shape. If it
    would unpack to more than `shape` needs, only little more is unpacked.
    """
    header = struct.pack(f">HBB{len(shape)}I", 0, _IDX_UNSIGNED_BYTE, len(shape), *shape)
    content = np.empty(math.prod(shape), np.uint8)
    total = len(header) + len(content)
    try:
        with open_regular(path, follow_links=True) as packed, gzip.open(packed) as file:
            size = os.fstat(packed.fileno()).st_size
            if size > 2 * total + _GZIP_OVERHEAD:  # gzip adds little to what it cannot compress
                raise _damaged(path, f"has {size} bytes, too many for the shape {shape}")
            start, length = file.read(len(header)), file.readinto(content.data)
            more = file.read(_SPARE)  # also verifies the checksum, which follows the content
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"cannot be unpacked ({error})") from error
    if start[:4] != header[:4]:
        raise _damaged(path, f"does not start like an idx file of bytes in {len(shape)} dimensions")
    if start[4:] != header[4:]:
        raise _damaged(path, f"does not have the shape {shape}")
    if len(more) == _SPARE:
        raise _damaged(path, f"holds far more than {total} bytes")
    if (found := len(header) + length + len(more)) != total:
        raise _damaged(path, f"holds {found} bytes, not {total}")
    return content.reshape(shape)


def read_cifar10(path: Path, count: int = _CIFAR10_BATCH) -> tuple[Bytes, Bytes]:
    """Reads a CIFAR-10 binary batch: `count` records of a label byte and 3x32x32 pixel bytes.

    Returns images [count, 3, 32, 32] and labels [count]; raises `DataError` if the file has another length
    or an impossible label. Source: www.cs.toronto.edu/~kriz/cifar.html.
    """
    record = 1 + math.prod(_CIFAR10_SHAPE)
    try:
        with open_regular(path, follow_links=True) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(count * record) if size == count * record else b""
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror or error})") from error
    if len(content) != count * record:
        raise _damaged(path, f"holds {size} bytes, not {count} records of {record}")
    records = np.frombuffer(content, np.uint8).reshape(count, record)
    return records[:, 1:].reshape(count, *_CIFAR10_SHAPE), _valid_labels(path, records[:, 0])


def _read_mnist(folder: Path) -> tuple[ImageSet, ImageSet]:
    def read(split: str, count: int) -> ImageSet:
        images = read_idx(folder / f"{split}-images-idx3-ubyte.gz", (count, 28, 28))
        labels_path = folder / f"{split}-labels-idx1-ubyte.gz"
        labels = _valid_labels(labels_path, read_idx(labels_path, (count,)))
        return _image_set(images[:, None], labels)

    return read("train", 60_000), read("t10k", 10_000)


def _read_cifar10(folder: Path) -> tuple[ImageSet, ImageSet]:
    def read(*batches: str) -> ImageSet:
        images, labels = zip(*(read_cifar10(folder / f"{batch}.bin") for batch in batches), strict=True)
        return _image_set(np.concatenate(images), np.concatenate(labels))

    return read(*(f"data_batch_{k}" for k in range(1, 6))), read("test_batch")


def _read_digits(folder: Path) -> tuple[ImageSet, ImageSet]:
    # scikit-learn's file, read without scikit-learn: importing that takes half as long as importing torch.
    path = folder / "digits.csv.gz"
    try:
        with open_regular(path, follow_links=True) as packed, gzip.open(packed) as file:
            table = np.loadtxt(file, delimiter=",", ndmin=2).astype(np.uint8)
        images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _damaged(path, f"cannot be read ({error})") from error
    every = _image_set(images, labels)
    # Shuffled, since the last images of the array come from other writers than the first.
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(_DIGITS_SEED))
    return every.subset(order[:_DIGITS_TRAIN]), every.subset(order[_DIGITS_TRAIN:])


_READERS = {"digits": _read_digits, "mnist": _read_mnist, "cifar10": _read_cifar10}


def _image_set(images: Bytes, labels: Bytes) -> ImageSet:
    writable = np.require(images, requirements=["C", "W"])  # what was read is not, but torch needs it
    return ImageSet(
        torch.from_numpy(writable), torch.from_numpy(labels.astype(np.int64)), torch.arange(len(labels))
    )


def _split(name: str, train: ImageSet, holdout: int) -> tuple[ImageSet, ImageSet]:
    n = len(train)
    if not 0 < holdout < n:
        raise DataError(f"cannot hold out {holdout} of {name}'s {n} training images", f"choose 0 to {n - 1}")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_HOLDOUT_SEED))
    kept, held_out = order[: n - holdout].sort().values, order[n - holdout :].sort().values
    return train.subset(kept), train.subset(held_out)


def fingerprint(*sets: ImageSet) -> str:
    """SHA-256 of each set's image bytes and then its labels, one byte per label, in order."""
    digest = hashlib.sha256()
    for images in sets:
        digest.update(images.images.numpy().data)
        digest.update(images.labels.to(torch.uint8).numpy().data)
    return digest.hexdigest()


def _valid_labels(path: Path, labels: Bytes) -> Bytes:
    if labels.max() >= _CLASSES:
        raise _damaged(path, f"holds the label {labels.max()}, but labels go from 0 to {_CLASSES - 1}")
    return labels


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} {what}", "replace it with the official file")
