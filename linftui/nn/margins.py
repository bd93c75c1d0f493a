"""Margins: by how much the label's logit exceeds every other."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from linftui.nn.bounds import IntervalBounds
from linftui.ops.reference import next_down


class CertifiedMargins(NamedTuple):
    """What bounds of the logits over boxes prove for each box."""

    certified: Bool[Tensor, " n"]  # the label is strictly on top in the whole box
    lower: Float[Tensor, " n"]  # of the margin, in logit units, rounded down; NaN where not finite
    finite: Bool[Tensor, " n"]


def margins(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The label's logit minus the greatest other; on a tie among the others the first takes the gradient."""
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).max(1).values
    return own - others


def certified_margins(logits: IntervalBounds, labels: Int[Tensor, " n"]) -> CertifiedMargins:
    """The margins over boxes, from bounds of each logit.

    Certified: the label's lower bound is *strictly* above every other class's upper bound, and no NaN or
    infinity occurred anywhere.
    """
    own = logits.lower.gather(1, labels[:, None])[:, 0]
    others = logits.upper.scatter(1, labels[:, None], -torch.inf).amax(1)
    certified = (own > others) & logits.finite
    lower = torch.where(logits.finite, next_down(own - others), torch.nan)
    return CertifiedMargins(certified, lower, logits.finite)
