"""Objectives: the loss that a step minimises, and the figures that are counted beside it.

An objective is a function of the net, a batch and the moment. It asks the net itself for what it needs:
logits at the current p, or bounds.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from linftui.nn.margins import margins
from linftui.nn.net import Net
from linftui.nn.verdicts import strict_prediction
from linftui.recipe.objective import Mixture
from linftui.recipe.schedule import Moment


@dataclass(frozen=True)
class Batch:
    """One rank's part of a batch."""

    pixels: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    size: int  # images of the whole batch, over all ranks


@dataclass(frozen=True)
class Result:
    """What an objective computes for one rank's part of a batch.

    `loss` is this part's share of the batch's mean loss, so that the sum over ranks is the loss. `figures`
    are sums over this part's images, by name, without gradient: `correct`, `certified` and
    `certified_train_eps`, and whatever an objective counts besides.
    """

    loss: Float[Tensor, ""]
    figures: dict[str, Tensor]


class Objective(nn.Module, ABC):
    """Base of every objective; its parameters are trained with the net's, at their own learning rate.

    Args:
        eps_test: the radius that will be certified, in pixel units.
    """

    def __init__(self, eps_test: float) -> None:
        super().__init__()
        self.eps_test = eps_test

    @abstractmethod
    def forward(self, net: Net, batch: Batch, moment: Moment) -> Result:
        """The loss of this part of a batch, and its figures."""

    def learned(self) -> dict[str, float]:
        """What the objective itself has learned, by name; written with each training record."""
        return {}

    @torch.no_grad()
    def figures(
        self, net: Net, logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], moment: Moment
    ) -> dict[str, Tensor]:
        """Counts of correct answers, and of margins above what eps_test and eps_train ask for.

        They hold at the current p, so none of them is a certificate.
        """
        prediction, strict = strict_prediction(logits)
        margin = margins(logits, labels)
        return {
            "correct": (strict & (prediction == labels)).sum(),
            "certified": (margin > 2 * net.radius(self.eps_test)).sum(),
            "certified_train_eps": (margin > 2 * net.radius(moment.eps)).sum(),
        }


class MixtureLoss(Objective):
    """mean_i clip(1 - margin_i / (2 eps), 0, 1) + lam * CE(s * f, y), margin = f_y - max_{j != y} f_j.

    A clipped margin loss that asks for robustness, and a fading cross-entropy. The learnable scalar s starts
    at 1 and scales only the cross-entropy's logits, never the margin.

    Source: "Boosting the Certified Robustness of L-infinity Distance Nets" (ICLR 2022), section 4. Margins
    are measured after the normalisation, so eps is in normalised units: pixel eps / std.
    """

    def __init__(self, eps_test: float) -> None:
        super().__init__(eps_test)
        self.scalar = nn.Parameter(torch.ones(()))

    @classmethod
    def of(cls, objective: Mixture, eps_test: float) -> "MixtureLoss":
        """The objective that a recipe describes."""
        return cls(eps_test)

    def forward(self, net: Net, batch: Batch, moment: Moment) -> Result:
        """The loss at this moment's p, eps and lam."""
        assert moment.lam is not None
        logits = net(batch.pixels, moment)
        loss = self.of_logits(logits, batch.labels, net.radius(moment.eps), moment.lam, batch.size)
        return Result(loss, self.figures(net, logits.detach(), batch.labels, moment))

    def of_logits(
        self, logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], radius: float, lam: float, size: int
    ) -> Float[Tensor, ""]:
        """These images' share of the mean loss over `size` images, 0 for none; `radius` is normalised."""
        hinge = (1 - margins(logits, labels) / (2 * radius)).clamp(0, 1).sum()
        loss = hinge + lam * F.cross_entropy(self.scalar * logits, labels, reduction="sum")
        return loss / max(1, size)

    def learned(self) -> dict[str, float]:
        """The scalar."""
        return {"scalar": self.scalar.item()}
