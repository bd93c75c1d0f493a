"""The mixture objective: a clipped margin loss that asks for robustness, and a fading cross-entropy.

Source: "Boosting the Certified Robustness of L-infinity Distance Nets" (ICLR 2022), section 4. Margins
are measured behind the normalisation, so every eps here is in normalised units: pixel eps / std.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from linftui.nn.models import strict_prediction


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
        self, logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], eps: float, lam: float
    ) -> Float[Tensor, ""]:
        """The mean loss over the batch; eps in normalised units."""
        hinge = (1 - margins(logits, labels) / (2 * eps)).clamp(0, 1).mean()
        loss: Tensor = hinge + lam * F.cross_entropy(self.scalar * logits, labels)
        return loss


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
