"""The mixture objective: a clipped margin loss that asks for robustness, and a fading cross-entropy.

Source: "Boosting the Certified Robustness of L-infinity Distance Nets" (ICLR 2022), section 4. Margins
are measured behind the normalisation, so every eps here is in normalised units: pixel eps / std.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from linftui.nn.models import DistanceMLP, strict_prediction


class BatchFigures(NamedTuple):
    """Sums over a batch, as 0-d tensors; no gradient."""

    correct: Tensor
    certified: Tensor  # margin above what eps_test asks for, at the current p: not a certificate
    certified_train_eps: Tensor


class MixtureLoss(nn.Module):
    """mean_i clip(1 - margin_i / (2 eps), 0, 1) + lam * CE(s * f, y), margin = f_y - max_{j != y} f_j.

    The learnable scalar s starts at 1 and scales only the cross-entropy's logits, never the margin.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scalar = nn.Parameter(torch.ones(()))

    def forward(
        self,
        logits: Float[Tensor, "n c"],
        labels: Int[Tensor, " n"],
        eps: float,
        lam: float,
        batch: int | None = None,
    ) -> Float[Tensor, ""]:
        """The mean loss over a batch, 0 where it has no image; eps in normalised units.

        Where these images are one rank's part of a batch of `batch` images, the result is their share of its
        mean: the sum over ranks is the loss.
        """
        hinge = (1 - margins(logits, labels) / (2 * eps)).clamp(0, 1).sum()
        loss = hinge + lam * F.cross_entropy(self.scalar * logits, labels, reduction="sum")
        return loss / max(1, len(labels) if batch is None else batch)


class LossNet(nn.Module):
    """The network and its objective as one module, for gradients are gathered over the whole of it."""

    def __init__(self, model: DistanceMLP, objective: MixtureLoss) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(
        self, pixels: Tensor, labels: Tensor, p: float, eps: float, lam: float, batch: int
    ) -> tuple[Tensor, Tensor]:
        """This part's share of the loss of a batch of `batch` images, and its logits."""
        logits = self.model(pixels, p)
        return self.objective(logits, labels, eps, lam, batch), logits.detach()


def margins(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The label's logit minus the greatest other; on a tie among the others the first takes the gradient."""
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return own - others


@torch.no_grad()
def batch_figures(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], eps_test: float, eps_train: float
) -> BatchFigures:
    """Counts of right answers and of margins above 2 eps; eps in normalised units."""
    prediction, strict = strict_prediction(logits)
    margin = margins(logits, labels)
    return BatchFigures(
        correct=(strict & (prediction == labels)).sum(),
        certified=(margin > 2 * eps_test).sum(),
        certified_train_eps=(margin > 2 * eps_train).sum(),
    )
