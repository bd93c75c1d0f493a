"""The mixture objective against its formula, written out in plain Python, and the figures beside it."""

import math

import pytest
import torch
from torch import Tensor

from linftui.nn import DistanceMLP, Moment
from linftui.train.objectives import Batch, MixtureLoss

INF, NAN = math.inf, math.nan


def batch(n: int = 40, classes: int = 5, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(0, classes, (n,), generator=generator)


def objective(scalar: float = 1.0) -> MixtureLoss:
    loss = MixtureLoss(0.1).double()
    with torch.no_grad():
        loss.scalar.fill_(scalar)
    return loss


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def by_hand(
    logits: Tensor, labels: Tensor, eps: float, lam: float, scalar: float
) -> tuple[float, list[list[float]], float]:
    """The loss, its gradient to every logit, and that to the scalar."""
    rows, n = logits.tolist(), len(labels)
    loss, scalar_gradient, gradients = 0.0, 0.0, []
    for row, label in zip(rows, labels.tolist(), strict=True):
        rival = max((value, -j) for j, value in enumerate(row) if j != label)
        inside = 1 + (rival[0] - row[label]) / (2 * eps)
        shares = softmax([scalar * value for value in row])
        loss += (min(max(inside, 0), 1) - lam * math.log(shares[label])) / n
        slope = 1 / (2 * eps) if 0 < inside < 1 else 0
        gradient = [lam * scalar * (share - (j == label)) / n for j, share in enumerate(shares)]
        gradient[label] -= slope / n
        gradient[-rival[1]] += slope / n
        gradients.append(gradient)
        pulls = zip(row, [share - (j == label) for j, share in enumerate(shares)], strict=True)
        scalar_gradient += sum(lam * value * pull for value, pull in pulls) / n
    return loss, gradients, scalar_gradient


class TestMixtureLoss:
    @pytest.mark.parametrize("eps", [0.05, 0.8, 10.0])
    @pytest.mark.parametrize("lam", [0.0002, 0.1, 1.0])
    @pytest.mark.parametrize("scalar", [1.0, 3.5])
    def test_value_and_gradients_are_those_of_the_formula(
        self, eps: float, lam: float, scalar: float
    ) -> None:
        (logits, labels), loss = batch(), objective(scalar)
        value = loss.of_logits(logits, labels, eps, lam, len(labels))
        value.backward()
        expected, gradients, scalar_gradient = by_hand(logits.detach(), labels, eps, lam, scalar)
        assert value.item() == pytest.approx(expected, rel=1e-12)
        torch.testing.assert_close(logits.grad, torch.tensor(gradients, dtype=torch.float64))
        assert loss.scalar.grad.item() == pytest.approx(scalar_gradient, rel=1e-9)

    def test_the_scalar_starts_at_1_and_never_touches_the_margin(self) -> None:
        logits, labels = batch()
        assert MixtureLoss(0.1).scalar.item() == 1
        losses = [objective(scalar) for scalar in (1.0, 7.0)]
        without = [loss.of_logits(logits, labels, 0.5, 0.0, 40).item() for loss in losses]
        assert without[0] == without[1] > 0
        with_entropy = [loss.of_logits(logits, labels, 0.5, 0.1, 40).item() for loss in losses]
        assert with_entropy[0] != with_entropy[1]

    @pytest.mark.parametrize(
        ("margin", "expected"), [(-9.0, 1.0), (0.0, 1.0), (0.5, 0.75), (1.0, 0.5), (2.0, 0.0), (9.0, 0.0)]
    )
    def test_the_margin_term_falls_from_1_at_margin_0_to_0_at_twice_eps(
        self, margin: float, expected: float
    ) -> None:
        logits = torch.tensor([[margin, 0.0, -20.0]])
        assert MixtureLoss(0.1).of_logits(logits, torch.tensor([0]), 1.0, 0.0, 1).item() == expected

    def test_beyond_either_clip_the_margin_term_has_no_gradient(self) -> None:
        logits = torch.tensor([[-1.0, 0.0], [5.0, 0.0], [1.0, 0.0]], requires_grad=True)
        MixtureLoss(0.1).of_logits(logits, torch.zeros(3, dtype=torch.int64), 1.0, 0.0, 3).backward()
        assert torch.equal(logits.grad, torch.tensor([[0, 0], [0, 0], [-1 / 6, 1 / 6]]))

    def test_a_batch_without_an_image_adds_nothing_to_the_loss(self) -> None:
        loss, nothing = MixtureLoss(0.1), torch.zeros(0, 3, requires_grad=True)
        value = loss.of_logits(nothing, torch.zeros(0, dtype=torch.int64), 0.5, 0.1, 0)
        value.backward()
        assert value.item() == 0 and loss.scalar.grad.item() == 0


def figures(logits: Tensor, labels: Tensor, eps_test: float, eps_train: float) -> dict[str, Tensor]:
    """Behind a normalisation by 0.5, so that a radius in pixels is twice as large there."""
    net = DistanceMLP(
        in_shape=(1, 1, 1), classes=2, width=1, depth=1, identity=0.0, mean=(0.0,), std=0.5, seed=0
    )
    return MixtureLoss(eps_test).figures(net, logits, labels, Moment(p=8.0, eps=eps_train))


class TestFigures:
    def test_a_margin_must_exceed_twice_eps(self) -> None:
        logits = torch.tensor([[1.0, 0.0], [1.5, 0.0], [2.0, 0.0], [2.5, 0.0], [-3.0, 0.0]])
        counted = figures(logits, torch.zeros(5, dtype=torch.int64), eps_test=0.25, eps_train=0.5)
        assert {name: int(figure) for name, figure in counted.items()} == {
            "correct": 4, "certified": 3, "certified_train_eps": 1,
        }  # fmt: skip

    def test_ties_and_what_is_not_finite_count_as_wrong(self) -> None:
        logits = torch.tensor([[0.0, 0.0], [NAN, 0.0], [NAN, NAN], [INF, 0.0], [1.0, -INF], [0.0, NAN]])
        counted = figures(logits, torch.zeros(6, dtype=torch.int64), eps_test=0.1, eps_train=0.1)
        assert int(counted["correct"]) == 0

    def test_they_carry_no_gradient(self) -> None:
        logits, labels = batch()
        assert not any(figure.requires_grad for figure in figures(logits, labels, 0.1, 0.2).values())


def test_it_asks_the_net_and_gives_its_share_of_the_batchs_mean() -> None:
    """Of a batch of 10 the 4 images that this rank has, at the moment's p, eps and lam, behind the std."""
    net = DistanceMLP(
        in_shape=(1, 2, 2), classes=3, width=4, depth=2, identity=10.0, mean=(0.3,), std=0.25, seed=0
    ).eval()
    pixels = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    labels, moment, loss = torch.tensor([0, 1, 2, 0]), Moment(p=8.0, eps=0.3, lam=0.1), MixtureLoss(0.1)
    result = loss(net, Batch(pixels, labels, 10), moment)
    expected = loss.of_logits(net(pixels, Moment(p=8.0)), labels, 0.3 / 0.25, 0.1, 10)
    assert torch.equal(result.loss, expected) and result.loss.requires_grad
    assert list(result.figures) == ["correct", "certified", "certified_train_eps"]
    assert loss.learned() == {"scalar": 1.0}
