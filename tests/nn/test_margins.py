"""Margins of logits, and what bounds prove of them: strictly, rounded down, and nothing beside a NaN."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linftui.nn import IntervalBounds
from linftui.nn.margins import certified_margins, margins

INF, NAN = math.inf, math.nan
TINY = 2.0**-149  # the smallest denormal
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


class TestMargins:
    def test_they_are_measured_to_the_best_other_class(self) -> None:
        logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 0.0, -1.0]])
        assert margins(logits, torch.tensor([0, 2, 1])).tolist() == [1.0, -1.0, 0.0]

    def test_of_tied_rivals_the_first_takes_the_gradient(self) -> None:
        logits = torch.tensor([[5.0, 2.0, 2.0, 2.0]], requires_grad=True)
        margins(logits, torch.tensor([0])).sum().backward()
        assert logits.grad.tolist() == [[1.0, -1.0, 0.0, 0.0]]


def margin_of(lower: list[float], upper: list[float], label: int) -> tuple[bool, float]:
    bounds = IntervalBounds.of(torch.tensor([lower]), torch.tensor([upper]))
    certified, margin, _ = certified_margins(bounds, torch.tensor([label]))
    return certified.item(), margin.item()


class TestCertifiedMargins:
    def test_the_labels_lower_end_must_exceed_every_other_upper_end(self) -> None:
        assert margin_of([1.0, -9.0, -9.0], [9.0, 0.5, 0.0], 0) == (True, 0.5 - 2.0**-25)
        assert margin_of([1.0, -9.0, -9.0], [9.0, 0.5, 1.5], 0)[0] is False
        assert margin_of([-9.0, -9.0, 2.0], [0.5, 1.5, 9.0], 2)[0] is True

    @pytest.mark.parametrize("label", [0, 1])
    def test_equal_ends_certify_neither_class(self, label: int) -> None:
        certified, margin = margin_of([1.0, 1.0, -9.0], [1.0, 1.0, -9.0], label)
        assert not certified and margin < 0

    def test_the_smallest_difference_is_enough_and_its_margin_is_not_negative(self) -> None:
        assert margin_of([TINY, 0.0], [TINY, 0.0], 0) == (True, 0.0)

    def test_minus_0_is_not_below_0(self) -> None:
        assert margin_of([0.0, -0.0], [0.0, -0.0], 0)[0] is False

    @pytest.mark.parametrize("end", [0, 1])
    @pytest.mark.parametrize("poison", [NAN, INF, -INF])
    @pytest.mark.parametrize("entry", [0, 1, 2])
    def test_nothing_is_certified_beside_what_is_not_finite(
        self, end: int, poison: float, entry: int
    ) -> None:
        ends = [[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]
        ends[end][entry] = poison
        certified, margin = margin_of(*ends, label=0)
        assert not certified and math.isnan(margin)

    @settings(deadline=None)
    @given(FLOATS, FLOATS)
    def test_the_margin_is_rounded_down(self, own: float, other: float) -> None:
        certified, margin = margin_of([own, other], [own, other], 0)
        assert certified == (own > other) == (margin >= 0)
        assert math.isinf(margin) or Fraction(margin) < Fraction(own) - Fraction(other)

    @pytest.mark.parametrize("label", [-1, 3])
    def test_a_label_that_is_no_class_is_an_error(self, label: int) -> None:
        with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
            margin_of([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], label)
