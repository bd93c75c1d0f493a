"""A net: layers from pixels to logits, and one walk over them for everything that is computed.

The forward, the interval bounds and the re-estimation of running means use the same layers in the same order,
so a certificate is about the network that is executed.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from linftui.nn.bounds import IntervalBounds
from linftui.nn.boxes import to_pixels
from linftui.nn.layers import MeanShift, Normalize
from linftui.nn.margins import CertifiedMargins, certified_margins
from linftui.recipe.schedule import AT_INFINITY, Moment

T = TypeVar("T")


@runtime_checkable
class Layer(Protocol):
    """What a net is made of."""

    def __call__(self, x: Tensor, moment: Moment, /) -> Tensor:
        """The layer's output at this moment."""
        ...

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """An interval that holds every output at p = inf, in evaluation, for inputs from `box`."""
        ...


class Net(nn.Module, ABC):
    """Base of every net. The first of its layers is `normalize`."""

    normalize: Normalize

    @abstractmethod
    def layers(self) -> Iterable[Layer]:
        """From pixels to logits, in order."""

    def forward(self, x: Float[Tensor, "n c h w"], moment: Moment) -> Float[Tensor, "n classes"]:
        """Logits of images in pixel units at this moment."""
        return self._walk(x, lambda layer, z: layer(z, moment))

    def bounds(self, box: IntervalBounds) -> IntervalBounds:
        """Bounds of the logits at p = inf, in evaluation, over a box in pixel units."""
        return self._walk(box, lambda layer, z: layer.bounds(z))

    def margins(self, box: IntervalBounds, labels: Int[Tensor, " n"]) -> CertifiedMargins:
        """Lower bounds of the labels' margins over boxes; a net that can bound differences better does so."""
        return certified_margins(self.bounds(box), labels)

    def radius(self, eps: float) -> float:
        """A radius in pixel units, converted to the logits' units: a 1-Lipschitz net preserves it."""
        return self.normalize.radius(eps)

    @torch.no_grad()
    def with_reestimated_means(self, images: UInt8[Tensor, "n c h w"], levels: int) -> "Net":
        """A copy whose running means are those of `images` at p = inf, layer by layer.

        Before p is infinite the running means belong to the finite-p net; the copy shows how good that net
        would be if training stopped now. It is a different network, and must be called so.

        Raises:
            ValueError: there are no images to take a mean over.
        """
        if not len(images):
            raise ValueError("there must be at least one image to re-estimate means from")
        net = copy.deepcopy(self).eval()
        net._walk(to_pixels(images, levels), _reestimate)
        return net

    def _walk(self, z: T, step: Callable[[Layer, T], T]) -> T:
        for layer in self.layers():
            z = step(layer, z)
        return z


def _reestimate(layer: Layer, z: Tensor) -> Tensor:
    return layer.reestimate(z) if isinstance(layer, MeanShift) else layer(z, AT_INFINITY)
