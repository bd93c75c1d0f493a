"""Which images a step sees, and how they are augmented: pure functions of (seed, epoch, sample).

Nothing here has a history. A resumed run, another batch size, other ranks or another device therefore see
the same images cropped in the same way, which makes a resumed run bit-identical. Random numbers come from
a counter-based hash: the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014), on int64 tensors whose arithmetic wraps around.
"""

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

_ORDER, _AUGMENT = 1, 2  # the purpose of a draw: different keys, so that order and crops are independent

# SplitMix64's increment and multipliers, written as the signed numbers that int64 holds.
_INCREMENT = 0x9E3779B97F4A7C15 - (1 << 64)
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MULTIPLIER_2 = 0x94D049BB133111EB - (1 << 64)

_OFFSET_BITS = 21  # of a draw's 64: 21 for the row, 21 for the column, the sign bit for the flip


def epoch_order(seed: int, epoch: int, n: int) -> Int64[Tensor, " n"]:
    """The order in which an epoch visits a data set: a permutation of 0..n-1, on the CPU."""
    generator = torch.Generator().manual_seed(_key(seed, epoch, _ORDER))
    return torch.randperm(n, generator=generator)


def batches_per_epoch(n: int, batch_size: int) -> int:
    """How many batches an epoch over `n` images has; the last one may be smaller and is kept."""
    return -(-n // batch_size)


def batch_indices(order: Int64[Tensor, " n"], batch: int, batch_size: int) -> Int64[Tensor, " batch"]:
    """The images of batch number `batch`, with 0 <= batch < `batches_per_epoch(n, batch_size)`."""
    return order[batch * batch_size : (batch + 1) * batch_size]


def augment(
    images: UInt8[Tensor, "batch channels height width"],
    sample: Int64[Tensor, " batch"],
    *,
    seed: int,
    epoch: int,
    crop_padding: int,
    flip: bool,
) -> UInt8[Tensor, "batch channels height width"]:
    """Crops each image at random, after padding it by its edge pixels, and mirrors half of them if `flip`.

    `sample` holds the images' numbers in the data set and lies on their device. An image's augmentation
    depends only on its number, `seed` and `epoch`. `crop_padding` is in pixels; the crop's two offsets are
    each uniform on 0..2*crop_padding (to within 2**-21); at `crop_padding` the crop is centred.
    """
    _, channels, height, width = images.shape
    draw = _hash(_hash(sample) ^ _key(seed, epoch, _AUGMENT))
    rows = _crop(draw, height, crop_padding)
    columns = _crop(draw >> _OFFSET_BITS, width, crop_padding)
    if flip:
        columns = torch.where((draw < 0)[:, None], columns.flip(1), columns)
    source = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    return images.flatten(2).gather(2, source[:, None].expand(-1, channels, -1)).view_as(images)


def _crop(draw: Int64[Tensor, " batch"], length: int, padding: int) -> Int64[Tensor, "batch length"]:
    """The place in the image for each place along one side of a crop; clamping is edge padding."""
    bits = draw & ((1 << _OFFSET_BITS) - 1)
    offset = (bits * (2 * padding + 1)) >> _OFFSET_BITS
    places = torch.arange(-padding, length - padding, device=draw.device) + offset[:, None]
    return places.clamp(0, length - 1)


def _key(seed: int, epoch: int, purpose: int) -> int:
    """One 64-bit number made from three, in which every bit of each matters."""
    key = torch.zeros((), dtype=torch.int64)
    for part in (seed, epoch, purpose):
        key = _hash(key ^ part)
    return int(key)


def _hash(x: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """SplitMix64's first output for each state in `x`: a one-to-one map of int64 that scatters it."""
    x = x + _INCREMENT
    x = (x ^ _shift_right(x, 30)) * _MULTIPLIER_1
    x = (x ^ _shift_right(x, 27)) * _MULTIPLIER_2
    return x ^ _shift_right(x, 31)


def _shift_right(x: Int64[Tensor, "..."], bits: int) -> Int64[Tensor, "..."]:
    """Shifts zeros in, where int64's own shift repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
