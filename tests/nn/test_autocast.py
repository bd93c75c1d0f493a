"""Distance layers among layers that torch.autocast runs in bfloat16: they compute in float32 all the same."""

import math

import pytest
import torch
from torch import Tensor, nn

from linftui.nn import AT_INFINITY, IntervalBounds, MeanShift, Moment, NormDistLinear
from linftui.train.objectives import MixtureLoss


class Mixed(nn.Module):
    """What users build: an ordinary layer in front of distance layers."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Linear(6, 8)
        self.shifts = nn.ModuleList([MeanShift(8), MeanShift(8)])
        self.hidden = NormDistLinear(8, 8, identity=10.0, generator=generator)
        self.last = NormDistLinear(8, 3, bias=True, generator=generator)
        with torch.no_grad():
            self.first.weight.copy_(torch.randn(8, 6, generator=generator) / 2)

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        z = self.shifts[0](self.first(x), moment)  # the shift of bfloat16
        z = self.shifts[1](self.hidden(self.first(x) + z, moment), moment)
        return -self.last(z, moment)


def three_clusters() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(96) % 3
    centres = 2 * torch.randn(3, 6, generator=generator)
    return centres[labels] + 0.3 * torch.randn(96, 6, generator=generator), labels


def test_a_net_with_an_ordinary_layer_in_front_trains() -> None:
    model, objective, (x, labels) = Mixed(), MixtureLoss(0.1), three_clusters()
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.03)
    losses = []
    for p in [8.0, 20.0, 100.0, 1000.0, math.inf] * 10:
        with torch.autocast("cpu", torch.bfloat16):
            assert model.first(x).dtype == torch.bfloat16
            logits = model(x, Moment(p=p))
            loss = objective.of_logits(logits, labels, radius=0.2, lam=0.1, size=len(labels))
        assert logits.dtype == torch.float32
        optimizer.zero_grad()
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        assert all(g is not None and g.dtype == torch.float32 and g.isfinite().all() for g in gradients)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert (model.eval()(x, AT_INFINITY).argmax(1) == labels).float().mean() > 0.95


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_mean_shift_takes_the_mean_of_what_autocast_has_narrowed_in_float32(dtype: torch.dtype) -> None:
    shift = MeanShift(4)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)).to(dtype) + 3
    x.requires_grad_()
    with torch.autocast("cpu", dtype):
        y = shift(x, AT_INFINITY)
        y.pow(2).sum().backward()
    mean = x.detach().float().mean(0)
    assert torch.equal(y, x.detach() - mean)
    torch.testing.assert_close(shift.running_mean, 0.1 * mean)
    assert x.grad is not None and x.grad.isfinite().all()


def test_the_bounds_of_a_layer_are_those_without_autocast() -> None:
    layer = NormDistLinear(6, 4, bias=True, generator=torch.Generator().manual_seed(0))
    lower = torch.rand(5, 6, generator=torch.Generator().manual_seed(1)).bfloat16()
    without = layer.bounds(IntervalBounds.of(lower.float(), lower.float() + 0.25))
    with torch.autocast("cpu", torch.bfloat16):
        image = layer.bounds(IntervalBounds.of(lower, lower.float() + 0.25))
    assert torch.equal(image.lower, without.lower) and torch.equal(image.upper, without.upper)
