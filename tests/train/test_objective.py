"""The mixture objective against its formula, written out in plain Python, and the figures beside it."""

import math

import pytest
import torch
from torch import Tensor

from linftui.train.objective import MixtureLoss, batch_figures, margins

INF, NAN = math.inf, math.nan


def batch(n: int = 40, classes: int = 5, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(0, classes, (n,), generator=generator)


def objective(scalar: float = 1.0) -> MixtureLoss:
    loss = MixtureLoss().double()
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
        value = loss(logits, labels, eps, lam)
        value.backward()
        expected, gradients, scalar_gradient = by_hand(logits.detach(), labels, eps, lam, scalar)
        assert value.item() == pytest.approx(expected, rel=1e-12)
        torch.testing.assert_close(logits.grad, torch.tensor(gradients, dtype=torch.float64))
        assert loss.scalar.grad.item() == pytest.approx(scalar_gradient, rel=1e-9)

    def test_the_scalar_starts_at_1_and_never_touches_the_margin(self) -> None:
        logits, labels = batch()
        assert MixtureLoss().scalar.item() == 1
        without = [objective(scalar)(logits, labels, 0.5, lam=0.0).item() for scalar in (1.0, 7.0)]
        assert without[0] == without[1] > 0
        with_entropy = [objective(scalar)(logits, labels, 0.5, lam=0.1).item() for scalar in (1.0, 7.0)]
        assert with_entropy[0] != with_entropy[1]

    @pytest.mark.parametrize(
        ("margin", "expected"), [(-9.0, 1.0), (0.0, 1.0), (0.5, 0.75), (1.0, 0.5), (2.0, 0.0), (9.0, 0.0)]
    )
    def test_the_margin_term_falls_from_1_at_margin_0_to_0_at_twice_eps(
        self, margin: float, expected: float
    ) -> None:
        logits = torch.tensor([[margin, 0.0, -20.0]])
        assert MixtureLoss()(logits, torch.tensor([0]), eps=1.0, lam=0.0).item() == expected

    def test_beyond_either_clip_the_margin_term_has_no_gradient(self) -> None:
        logits = torch.tensor([[-1.0, 0.0], [5.0, 0.0], [1.0, 0.0]], requires_grad=True)
        MixtureLoss()(logits, torch.zeros(3, dtype=torch.int64), eps=1.0, lam=0.0).backward()
        assert torch.equal(logits.grad, torch.tensor([[0, 0], [0, 0], [-1 / 6, 1 / 6]]))

    def test_a_batch_without_an_image_adds_nothing_to_the_loss(self) -> None:
        loss, nothing = MixtureLoss(), torch.zeros(0, 3, requires_grad=True)
        value = loss(nothing, torch.zeros(0, dtype=torch.int64), eps=0.5, lam=0.1)
        value.backward()
        assert value.item() == 0 and loss.scalar.grad.item() == 0


class TestMargins:
    def test_they_are_measured_to_the_best_other_class(self) -> None:
        logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 0.0, -1.0]])
        assert margins(logits, torch.tensor([0, 2, 1])).tolist() == [1.0, -1.0, 0.0]

    def test_of_tied_rivals_the_first_takes_the_gradient(self) -> None:
        logits = torch.tensor([[5.0, 2.0, 2.0, 2.0]], requires_grad=True)
        margins(logits, torch.tensor([0])).sum().backward()
        assert logits.grad.tolist() == [[1.0, -1.0, 0.0, 0.0]]


class TestBatchFigures:
    def test_a_margin_must_exceed_twice_eps(self) -> None:
        logits = torch.tensor([[1.0, 0.0], [1.5, 0.0], [2.0, 0.0], [2.5, 0.0], [-3.0, 0.0]])
        figures = batch_figures(logits, torch.zeros(5, dtype=torch.int64), eps_test=0.5, eps_train=1.0)
        assert [int(figure) for figure in figures] == [4, 3, 1]

    def test_ties_and_what_is_not_finite_count_as_wrong(self) -> None:
        logits = torch.tensor([[0.0, 0.0], [NAN, 0.0], [NAN, NAN], [INF, 0.0], [1.0, -INF], [0.0, NAN]])
        figures = batch_figures(logits, torch.zeros(6, dtype=torch.int64), eps_test=0.1, eps_train=0.1)
        assert int(figures.correct) == 0

    def test_they_carry_no_gradient(self) -> None:
        logits, labels = batch()
        assert not any(figure.requires_grad for figure in batch_figures(logits, labels, 0.1, 0.2))
