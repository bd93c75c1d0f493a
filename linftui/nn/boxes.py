"""Images as a net takes them: pixels in [0, 1], and boxes of pixels, computed exactly and rounded outward."""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from linftui.nn.bounds import IntervalBounds


def to_pixels(images: UInt8[Tensor, "n c h w"], levels: int) -> Float[Tensor, "n c h w"]:
    """Bytes to pixels in [0, 1]: byte / levels, rounded to nearest."""
    return images.to(torch.float32) / torch.tensor(levels, dtype=torch.float32, device=images.device)


def pixel_box(images: UInt8[Tensor, "n c h w"], eps: Fraction, levels: int) -> IntervalBounds:
    """The box [x0 - eps, x0 + eps] within [0, 1] around images whose pixels are exactly byte / levels.

    The ends are exact fractions rounded outward to float32, so no real point of the box is lost.
    """
    return pixel_boxes(images, [eps], torch.zeros(len(images), dtype=torch.int64), levels)


def pixel_boxes(
    images: UInt8[Tensor, "n c h w"], radii: Sequence[Fraction], which: Int[Tensor, " n"], levels: int
) -> IntervalBounds:
    """As `pixel_box`, but image n has the radius `radii[which[n]]`."""
    tables = zip(*(_box_table(eps, levels) for eps in radii), strict=True)
    offset = (which * (levels + 1)).to(images.device, torch.int32)
    index = (images + offset[:, None, None, None]).flatten()
    low, high = (
        torch.stack(ends).to(images.device).flatten().index_select(0, index).view(images.shape)
        for ends in tables
    )
    return IntervalBounds.of(low, high)


@lru_cache(maxsize=64)
def _box_table(eps: Fraction, levels: int) -> tuple[Tensor, Tensor]:
    """Ends of the box for every byte value 0..levels, rounded outward, [levels + 1] each."""
    if eps < 0:
        raise ValueError(f"eps must be >= 0, got {eps}")
    values = [Fraction(k, levels) for k in range(levels + 1)]
    low = [round_down(max(Fraction(0), v - eps)) for v in values]
    high = [-round_down(-min(Fraction(1), v + eps)) for v in values]
    return torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)


def round_down(value: Fraction) -> float:
    """The largest float32 that is <= value (a finite fraction within float32's range)."""
    lowest, highest = np.float32(-np.inf), np.float32(np.inf)
    nearest = np.float32(float(value))
    while _exceeds(nearest, value):
        nearest = np.nextafter(nearest, lowest)
    while not _exceeds(above := np.nextafter(nearest, highest), value):
        nearest = above
    return float(nearest)


def _exceeds(number: np.float32, value: Fraction) -> bool:
    if not np.isfinite(number):
        return bool(number > 0)
    numerator, denominator = number.as_integer_ratio()
    return numerator * value.denominator > value.numerator * denominator
