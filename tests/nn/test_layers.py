"""The layers against formulas written out: how they start, what they compute, how gradients pass."""

import math

import pytest
import torch
from torch import Tensor, nn

from linftui.nn import AT_INFINITY, IntervalBounds, MeanShift, Moment, Normalize, NormDistLinear


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed))


class TestNormDistLinear:
    @pytest.mark.parametrize(("n_in", "n_out"), [(3, 8), (4, 4), (5, 6)])
    def test_it_starts_normal_but_for_an_identity_along_the_wrapped_diagonal(
        self, n_in: int, n_out: int
    ) -> None:
        layer = NormDistLinear(n_in, n_out, identity=7.5, generator=generator())
        expected = normal(n_out, n_in)
        for i in range(n_out):
            expected[i, i % n_in] = -7.5
        assert torch.equal(layer.weight, expected)

    def test_a_layer_that_narrows_has_no_identity(self) -> None:
        layer = NormDistLinear(8, 3, identity=7.5, generator=generator())
        assert torch.equal(layer.weight, normal(3, 8))

    def test_an_identity_of_0_leaves_the_weights_as_drawn(self) -> None:
        assert torch.equal(NormDistLinear(3, 8, generator=generator()).weight, normal(8, 3))

    def test_a_large_identity_makes_it_pass_its_input_on_but_for_a_shift(self) -> None:
        x = normal(50, 6)
        y = NormDistLinear(6, 6, identity=100.0, generator=generator(1))(x, AT_INFINITY)
        torch.testing.assert_close(y - 100, x, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("p", [2.0, 8.0, math.inf])
    def test_it_measures_distances_and_adds_its_bias(self, p: float) -> None:
        layer = NormDistLinear(6, 4, bias=True, generator=generator())
        x = normal(5, 6, seed=1)
        expected = torch.cdist(x.double(), layer.weight.detach().double(), p=p)
        torch.testing.assert_close(layer(x, Moment(p=p)).double(), expected, atol=1e-5, rtol=1e-6)
        assert layer.bias is not None and torch.equal(layer.bias, torch.zeros(4))
        nn.init.normal_(layer.bias, generator=generator(2))
        y = layer(x, Moment(p=p))
        torch.testing.assert_close(y.double(), expected + layer.bias, atol=1e-5, rtol=1e-6)

    def test_without_a_bias_it_has_one_parameter(self) -> None:
        assert [n for n, _ in NormDistLinear(3, 8, generator=generator()).named_parameters()] == ["weight"]


class TestMeanShift:
    def test_in_training_it_subtracts_the_batch_mean(self) -> None:
        x = normal(7, 5)
        y = MeanShift(5)(x, AT_INFINITY)
        assert torch.equal(y, x - x.mean(0))

    def test_the_gradient_flows_through_the_batch_mean(self) -> None:
        x, upstream = normal(7, 5).requires_grad_(), normal(7, 5, seed=1)
        MeanShift(5)(x, AT_INFINITY).backward(upstream)
        torch.testing.assert_close(x.grad, upstream - upstream.mean(0))

    def test_the_running_mean_moves_a_tenth_of_the_way_to_each_batch(self) -> None:
        shift, expected = MeanShift(5), torch.zeros(5)
        for step in range(4):
            x = normal(7, 5, seed=step) + 3
            shift(x, AT_INFINITY)
            expected = 0.9 * expected + 0.1 * x.mean(0)
            torch.testing.assert_close(shift.running_mean, expected)
        assert not shift.running_mean.requires_grad

    def test_an_empty_batch_leaves_the_running_mean_as_it_is(self) -> None:
        shift, nothing = MeanShift(5), torch.zeros(0, 5, requires_grad=True)
        shift(normal(7, 5), AT_INFINITY)
        before = shift.running_mean.clone()
        y = shift(nothing, AT_INFINITY)
        assert y.shape == (0, 5) and torch.equal(shift.running_mean, before)
        y.sum().backward()
        assert nothing.grad is not None

    def test_a_nan_in_a_batch_is_not_hidden(self) -> None:
        shift, x = MeanShift(5), normal(7, 5)
        x[2, 3] = math.nan
        assert shift(x, AT_INFINITY).isnan().all(0).tolist() == [False, False, False, True, False]
        assert shift.running_mean.isnan().tolist() == [False, False, False, True, False]

    def test_in_evaluation_it_subtracts_the_running_mean_and_leaves_it(self) -> None:
        shift = MeanShift(5).eval()
        shift.running_mean.copy_(normal(5, seed=3))
        before, x = shift.running_mean.clone(), normal(7, 5)
        assert torch.equal(shift(x, AT_INFINITY), x - before)
        assert torch.equal(shift.running_mean, before)
        assert torch.equal(shift(x[:1], AT_INFINITY), shift(x, AT_INFINITY)[:1])

    def test_it_has_nothing_to_learn_and_keeps_its_mean_in_the_state(self) -> None:
        shift = MeanShift(5)
        assert not list(shift.parameters()) and list(shift.state_dict()) == ["running_mean"]


class TestNormalize:
    def test_it_shifts_each_channel_and_scales_all_alike(self) -> None:
        pixels = torch.rand(2, 3, 4, 5, generator=generator())
        y = Normalize((0.1, 0.2, 0.3), 0.25)(pixels, AT_INFINITY)
        for channel, mean in enumerate((0.1, 0.2, 0.3)):
            torch.testing.assert_close(y[:, channel], (pixels[:, channel] - mean) / 0.25)

    def test_it_divides_truly_also_where_a_reciprocal_would_round_otherwise(self) -> None:
        pixels = torch.arange(256, dtype=torch.float32).div(255).view(1, 1, 16, 16)
        normalize = Normalize((0.0,), 0.2009)
        assert torch.equal(normalize(pixels, AT_INFINITY), pixels / torch.full_like(pixels, 0.2009))
        assert not torch.equal(normalize(pixels, AT_INFINITY), pixels * (1 / normalize.std))

    def test_its_numbers_are_part_of_the_state(self) -> None:
        assert set(Normalize((0.1, 0.2, 0.3), 0.25).state_dict()) == {"mean", "std"}


@pytest.mark.parametrize("seed", range(20))
@torch.no_grad()
def test_each_layers_bounds_hold_its_outputs_on_random_boxes(seed: int) -> None:
    lower = torch.rand(30, 1, 2, 3, generator=generator(seed))
    upper = lower + torch.rand(30, 1, 2, 3, generator=generator(seed)) * 10.0 ** (-seed / 3)
    linear = NormDistLinear(6, 6, bias=True, generator=generator(seed))
    assert linear.bias is not None
    nn.init.normal_(linear.bias, generator=generator(seed))
    shift = MeanShift(6).eval()
    shift.running_mean.copy_(normal(6, seed=seed + 1))
    normalize = Normalize((0.3,), 0.376)

    box = IntervalBounds.of(lower, upper)
    images = [normalize.bounds(box)]
    images += [linear.bounds(images[0].flattened())]
    images += [shift.bounds(images[1])]
    shares = [torch.rand(lower.shape, generator=generator(k)) for k in range(50)]
    for point in (lower, upper, *(torch.lerp(lower, upper, share).clamp(lower, upper) for share in shares)):
        value = normalize(point, AT_INFINITY)
        assert ((images[0].lower < value) & (value < images[0].upper)).all()
        value = linear(value.flatten(1), AT_INFINITY)
        assert ((images[1].lower < value) & (value < images[1].upper)).all()
        value = shift(value, AT_INFINITY)
        assert ((images[2].lower < value) & (value < images[2].upper)).all()
