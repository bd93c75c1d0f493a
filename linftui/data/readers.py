"""Official bytes in, uint8 images and labels out.

The parsers trust no file: one with the wrong shape, or cut short, is an error that names it.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from linftui.data.images import ImageSet
from linftui.errors import DataError
from linftui.files import open_regular

Bytes = UInt8[np.ndarray, "..."]
_DIGITS_SEED, _DIGITS_TRAIN = 0, 1437
_CIFAR10_SHAPE = (3, 32, 32)
_CIFAR10_BATCH = 10_000
_CLASSES = 10  # of MNIST and CIFAR-10
_IDX_UNSIGNED_BYTE = 0x08
_GZIP_OVERHEAD = 1 << 12
_SPARE = 1 << 16  # how many surplus bytes are unpacked, to report their number


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


READERS = {"digits": _read_digits, "mnist": _read_mnist, "cifar10": _read_cifar10}


def _image_set(images: Bytes, labels: Bytes) -> ImageSet:
    writable = np.require(images, requirements=["C", "W"])  # what was read is not, but torch needs it
    return ImageSet(
        torch.from_numpy(writable), torch.from_numpy(labels.astype(np.int64)), torch.arange(len(labels))
    )


def _valid_labels(path: Path, labels: Bytes) -> Bytes:
    if labels.max() >= _CLASSES:
        raise _damaged(path, f"holds the label {labels.max()}, but labels go from 0 to {_CLASSES - 1}")
    return labels


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} {what}", "replace it with the official file")
