"""The definition of the distance against independent arithmetic: float64 logarithms, fractions, loops."""

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linftui.ops import inf_dist_bounds, norm_dist, reference

INF = math.inf
FINITE_P = [1.0, 1.5, 2.0, 8.0, 12.5, 37.3, 100.0, 1000.0, 1e4]
SCALES = [1e-20, 1.0, 1e15]
SHAPES = [(5, 10, 17), (3, 10, 1), (4, 10, 3)]  # N, M, K
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pair(shape: tuple[int, int, int], scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """x [N, K] and weight [M, K] that both want a gradient."""
    n, m, k = shape
    x, weight = normal(n, k, seed=1, scale=scale), normal(m, k, seed=2, scale=scale)
    return x.requires_grad_(), weight.requires_grad_()


def exact_differences(x: Tensor, weight: Tensor) -> np.ndarray:
    return x.detach().double().numpy()[:, None, :] - weight.detach().double().numpy()


def distances_in_float64(x: Tensor, weight: Tensor, p: float) -> np.ndarray:
    """log ||d||_p by log-sum-exp: no power is ever taken of a ratio, unlike in the code."""
    with np.errstate(divide="ignore"):
        logs = np.log(np.abs(exact_differences(x, weight)))
    largest = logs.max(-1)
    return np.exp(largest + np.log(np.exp(p * (logs - largest[..., None])).sum(-1)) / p)


def gradients_in_float64(x: Tensor, weight: Tensor, p: float, grad: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """dy/dx = sign(d) exp((p - 1) (log|d| - log y)), summed in float64; needs d != 0 everywhere."""
    d = exact_differences(x, weight)
    ratio = np.log(np.abs(d)) - np.log(distances_in_float64(x, weight, p))[..., None]
    terms = np.sign(d) * np.exp((p - 1) * ratio) * grad.double().numpy()[..., None]
    return terms.sum(1), -terms.sum(0)


@pytest.fixture
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class TestForward:
    @pytest.mark.parametrize("scale", SCALES)
    @pytest.mark.parametrize("p", FINITE_P)
    def test_it_is_right_to_5e_7_at_any_p_and_scale(self, p: float, scale: float) -> None:
        for shape in SHAPES:
            x, weight = pair(shape, scale)
            expected = distances_in_float64(x, weight, p)
            y = norm_dist(x, weight, p).detach().double().numpy()
            assert np.abs(y / expected - 1).max() <= 5e-7

    @pytest.mark.parametrize("p", [1, 2, 8])
    def test_at_whole_p_it_is_the_root_of_the_exact_sum_of_powers(self, p: int) -> None:
        x, weight = pair((2, 3, 5))
        y = norm_dist(x, weight, float(p))
        for n, m in np.ndindex(2, 3):
            ends = zip(x[n].tolist(), weight[m].tolist(), strict=True)
            differences = [Fraction(a) - Fraction(b) for a, b in ends]
            total = sum(abs(d) ** p for d in differences)
            assert abs(Fraction(y[n, m].item()) ** p / total - 1) <= Fraction(5e-7) * p

    def test_at_inf_it_is_the_largest_float32_difference(self) -> None:
        for shape in SHAPES:
            x, weight = pair(shape)
            expected = np.abs(x.detach().numpy()[:, None, :] - weight.detach().numpy()).max(-1)
            assert np.array_equal(norm_dist(x, weight, INF).detach().numpy(), expected)

    def test_at_inf_it_is_the_same_with_and_without_a_gradient(self) -> None:
        x, weight = pair((20, 10, 33))
        assert torch.equal(norm_dist(x, weight, INF), norm_dist(x.detach(), weight.detach(), INF))

    @pytest.mark.parametrize("p", [*FINITE_P, INF])
    def test_equal_rows_are_at_distance_0(self, p: float) -> None:
        x = normal(4, 17)
        assert torch.equal(norm_dist(x, x.clone(), p).diagonal(), torch.zeros(4))

    @pytest.mark.parametrize("p", [1.0, 8.0, 1e4, INF])
    def test_without_inputs_every_distance_is_0(self, p: float) -> None:
        x, weight = torch.zeros(3, 0).requires_grad_(), torch.zeros(10, 0).requires_grad_()
        y = norm_dist(x, weight, p)
        y.sum().backward()
        assert torch.equal(y, torch.zeros(3, 10))
        assert x.grad is not None and x.grad.shape == (3, 0)

    @pytest.mark.parametrize("p", [8.0, INF])
    def test_an_empty_batch_gives_an_empty_result_and_zero_gradients(self, p: float) -> None:
        x, weight = torch.zeros(0, 17).requires_grad_(), normal(10, 17).requires_grad_()
        y = norm_dist(x, weight, p)
        y.sum().backward()
        assert y.shape == (0, 10)
        assert weight.grad is not None and torch.equal(weight.grad, torch.zeros(10, 17))

    @pytest.mark.parametrize("p", [1.0, 8.0, 37.3, INF])
    def test_a_nan_spoils_its_row_and_no_other(self, p: float) -> None:
        for k in range(17):
            x, weight = (tensor.detach() for tensor in pair((5, 10, 17)))
            x[2, k], weight[7, 16 - k] = math.nan, math.nan
            nan = norm_dist(x, weight, p).isnan()
            expected = torch.zeros(5, 10, dtype=torch.bool)
            expected[2], expected[:, 7] = True, True
            assert torch.equal(nan, expected)

    @pytest.mark.parametrize("p", [1.0, 8.0, 1000.0, INF])
    def test_an_infinite_difference_is_an_infinite_distance(self, p: float) -> None:
        x = torch.tensor([[INF, 1.0], [-INF, INF], [0.0, 1.0], [3e38, 0.0]])
        weight = torch.tensor([[0.0, 0.0], [INF, 0.0], [-3e38, 0.0]])
        y = norm_dist(x, weight, p)
        assert y[0].tolist() == [INF, pytest.approx(math.nan, nan_ok=True), INF]  # inf - inf is NaN
        assert y[1].tolist() == [INF, INF, INF]
        assert y[2, 1] == INF and y[3, 2] == INF  # the last by overflow of the subtraction

    @pytest.mark.parametrize("p", [1.0, 8.0, 37.3, 1e4, INF])
    def test_denormal_differences_are_measured_too(self, p: float) -> None:
        tiny = 2.0**-149
        x, weight = torch.tensor([[3 * tiny, 0.0], [0.0, 5 * tiny]]), torch.zeros(1, 2)
        assert norm_dist(x, weight, p)[:, 0].tolist() == [3 * tiny, 5 * tiny]

    @settings(deadline=None)
    @given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=9))
    def test_at_inf_any_floats_give_the_maximum_of_rounded_differences(
        self, pairs: list[tuple[float, float]]
    ) -> None:
        x, weight = (torch.tensor([values], dtype=torch.float32) for values in zip(*pairs, strict=True))
        with np.errstate(over="ignore"):
            expected = max(abs(np.float32(a) - np.float32(b)) for a, b in pairs)
        assert norm_dist(x, weight, INF).item() == expected

    @settings(deadline=None)
    @given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=9), st.sampled_from(FINITE_P))
    def test_it_lies_between_the_inf_norm_and_its_root_k_multiple(
        self, pairs: list[tuple[float, float]], p: float
    ) -> None:
        x, weight = (torch.tensor([values], dtype=torch.float32) for values in zip(*pairs, strict=True))
        y, largest = norm_dist(x, weight, p).item(), norm_dist(x, weight, INF).item()
        at_most = largest * len(pairs) ** (1 / p) * (1 + 5e-7) + 2.0**-149
        at_least = largest * (1 - 2.0**-23) - 2.0**-149  # a root of a sum of powers is rounded
        assert at_least <= y and (y <= at_most or at_most > 3.4e38)  # beyond float32 it is infinite

    @pytest.mark.parametrize("p", FINITE_P)
    def test_doubling_both_sides_doubles_it(self, p: float) -> None:
        """To a rounding or two: differences of ordinary size may be raised to a power as they are."""
        x, weight = (tensor.detach() for tensor in pair((5, 10, 17)))
        ratio = norm_dist(x * 2**40, weight * 2**40, p) / (norm_dist(x, weight, p) * 2**40)
        assert (ratio - 1).abs().max() <= 2.0**-22


class TestBackward:
    @pytest.mark.parametrize("scale", SCALES)
    @pytest.mark.parametrize(("p", "tolerance"), [(p, 3e-5 if p <= 100 else 3e-4) for p in FINITE_P[:-1]])
    def test_it_is_right_at_any_p_and_scale(self, p: float, tolerance: float, scale: float) -> None:
        for shape in SHAPES:
            x, weight = pair(shape, scale)
            grad = normal(shape[0], shape[1], seed=3)
            norm_dist(x, weight, p).backward(grad)
            expected = gradients_in_float64(x, weight, p, grad)
            for tensor, right in zip((x, weight), expected, strict=True):
                assert tensor.grad is not None
                assert np.abs(tensor.grad.double().numpy() - right).max() <= tolerance * np.abs(right).max()

    @pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 8.0, 37.3, 100.0, INF])
    def test_it_agrees_with_finite_differences_in_float64(self, p: float) -> None:
        x, weight = (tensor.detach().double().requires_grad_() for tensor in pair((4, 3, 5)))
        assert torch.autograd.gradcheck(lambda a, b: norm_dist(a, b, p), (x, weight))

    @pytest.mark.parametrize("p", [1.0, 1.5, 8.0, 1e4, INF])
    def test_where_x_equals_w_it_is_exactly_0(self, p: float) -> None:
        x = normal(1, 17).requires_grad_()
        weight = x.detach().clone().requires_grad_()
        norm_dist(x, weight, p).backward(torch.full((1, 1), 1e30))
        assert torch.equal(x.grad, torch.zeros(1, 17)) and torch.equal(weight.grad, torch.zeros(1, 17))

    @pytest.mark.parametrize("p", [1.0, 8.0, INF])
    def test_an_infinite_distance_has_none(self, p: float) -> None:
        x = torch.tensor([[INF, 1.0, 2.0]], requires_grad=True)
        weight = torch.zeros(1, 3, requires_grad=True)
        norm_dist(x, weight, p).sum().backward()
        assert torch.equal(x.grad, torch.zeros(1, 3)) and torch.equal(weight.grad, torch.zeros(1, 3))

    @pytest.mark.parametrize("p", [1.0, 1.5, 8.0, 1000.0])
    def test_at_finite_p_a_nan_distance_has_a_nan_gradient(self, p: float) -> None:
        x = torch.tensor([[math.nan, 1.0], [1.0, 2.0]], requires_grad=True)
        weight = torch.zeros(1, 2, requires_grad=True)
        norm_dist(x, weight, p).sum().backward()
        assert x.grad[0].isnan().all() and x.grad[1].isfinite().all() and weight.grad.isnan().all()

    def test_at_inf_the_first_of_tied_coordinates_takes_it_all(self) -> None:
        x = torch.tensor([[1.0, -3.0, 3.0, 3.0], [2.0, 2.0, -2.0, 0.0]], requires_grad=True)
        weight = torch.zeros(1, 4, requires_grad=True)
        norm_dist(x, weight, INF).backward(torch.tensor([[5.0], [7.0]]))
        assert x.grad.tolist() == [[0, -5, 0, 0], [7, 0, 0, 0]]
        assert weight.grad.tolist() == [[-7, 5, 0, 0]]

    def test_at_inf_it_is_a_plain_loop_over_the_winners(self) -> None:
        x, weight = pair((6, 10, 17))
        grad = normal(6, 10, seed=3)
        norm_dist(x, weight, INF).backward(grad)
        grad_x, grad_weight = np.zeros((6, 17), np.float32), np.zeros((10, 17), np.float32)
        d = x.detach().numpy()[:, None, :] - weight.detach().numpy()
        for n, m in np.ndindex(6, 10):
            k = int(np.abs(d[n, m]).argmax())
            flow = np.sign(d[n, m, k]) * grad[n, m].item()
            grad_x[n, k] += flow
            grad_weight[m, k] -= flow
        assert np.array_equal(x.grad.numpy(), grad_x) and np.array_equal(weight.grad.numpy(), grad_weight)

    @pytest.mark.parametrize("p", [100.0, 1e3, 1e4, 1e7, 1e8])
    def test_no_coordinate_takes_more_than_the_whole_gradient(self, p: float) -> None:
        """It would, were y an ulp below the largest difference: their ratio is raised to the power p - 1."""
        x, weight = normal(200, 33, seed=3).requires_grad_(), normal(1, 33, seed=4)
        norm_dist(x, weight, p).sum().backward()
        assert 0.99 < x.grad.abs().max() <= 1 + 1e-7 * min(p, 1e4)


class TestBounds:
    @pytest.mark.parametrize("outward", [False, True])
    def test_they_are_the_formula_of_the_theorem(self, outward: bool) -> None:
        lower = normal(6, 17)
        upper = lower + normal(6, 17, seed=1).abs()
        weight = normal(10, 17, seed=2)
        low_steps, high_steps = inf_dist_bounds(lower, upper, weight, outward=outward)
        low, up, w = lower.numpy()[:, None, :], upper.numpy()[:, None, :], weight.numpy()
        expected_low = np.maximum(low - w, w - up).max(-1)
        expected_high = np.maximum(up - w, w - low).max(-1)
        if outward:
            expected_low = np.nextafter(expected_low, np.float32(-INF))
            expected_high = np.nextafter(expected_high, np.float32(INF))
        assert np.array_equal(low_steps.numpy(), np.maximum(expected_low, 0))
        assert np.array_equal(high_steps.numpy(), expected_high)

    def test_exact_distances_need_the_step_outward_and_stay_within_it(self) -> None:
        lower, weight = normal(100, 3), 3 * normal(10, 3, seed=2)
        upper = lower + 0.1 * normal(100, 3, seed=1).abs()
        exactly = np.frompyfunc(Fraction, 1, 1)
        low, up, w = (exactly(tensor.double().numpy()) for tensor in (lower, upper, weight))
        low, up = low[:, None, :], up[:, None, :]
        least = np.maximum(np.maximum(low - w, w - up).max(-1), Fraction(0))
        most = np.maximum(up - w, w - low).max(-1)
        inner, outer = (inf_dist_bounds(lower, upper, weight, outward=step) for step in (False, True))
        assert (exactly(outer[0].double().numpy()) <= least).all()
        assert (most <= exactly(outer[1].double().numpy())).all()
        assert (exactly(inner[0].double().numpy()) > least).any()
        assert (most > exactly(inner[1].double().numpy())).any()

    def test_of_a_point_they_are_its_distance(self) -> None:
        x, weight = normal(6, 17), normal(10, 17, seed=2)
        low, high = inf_dist_bounds(x, x, weight, outward=False)
        assert torch.equal(low, norm_dist(x, weight, INF)) and torch.equal(high, low)

    def test_the_lower_one_is_0_where_the_centre_is_in_the_box(self) -> None:
        low, high = inf_dist_bounds(-torch.ones(1, 3), torch.ones(1, 3), torch.zeros(1, 3), outward=True)
        assert low.item() == 0 and high.item() == 1 + 2.0**-23

    def test_without_inputs_they_are_0(self) -> None:
        low, high = inf_dist_bounds(torch.zeros(2, 0), torch.zeros(2, 0), torch.zeros(3, 0))
        assert torch.equal(low, torch.zeros(2, 3)) and torch.equal(high, torch.zeros(2, 3))

    def test_a_nan_anywhere_shows_in_the_upper_one(self) -> None:
        for k in range(17):
            for spoilt in range(3):
                tensors = [normal(1, 17), normal(1, 17) + 1, normal(1, 17, seed=2)]
                tensors[spoilt][0, k] = math.nan
                assert inf_dist_bounds(*tensors)[1].isnan().all()


class TestSteps:
    def test_the_next_float_is_the_next_bit_pattern(self) -> None:
        """Against integers, for a million bit patterns and all the special ones (AVX-512: all were tried)."""
        bits = torch.randint(-(2**31), 2**31, (1_000_000,), generator=torch.Generator().manual_seed(0))
        special = [0, 1, 2**23 - 1, 2**23, 0x3F7FFFFF, 0x3F800000, 0x7F7FFFFF]
        bits = torch.cat([bits, torch.tensor(special), torch.tensor(special) - 2**31]).to(torch.int32)
        x = bits.view(torch.float32)
        finite = x.isfinite()
        x, bits = x[finite], bits[finite].long()
        ordered = torch.where(bits < 0, -(bits + 2**31), bits)  # as integers that grow with the float
        for step, move in ((1, reference.next_up), (-1, reference.next_down)):
            there = move(x).view(torch.int32).long()
            assert torch.equal(torch.where(there < 0, -(there + 2**31), there), ordered + step)

    def test_infinities_and_nan_stay_beyond_reach(self) -> None:
        x = torch.tensor([INF, math.nan] * 20)
        assert torch.equal(reference.next_up(x).isfinite(), torch.zeros(40, dtype=torch.bool))
        assert torch.equal(reference.next_down(-x).isfinite(), torch.zeros(40, dtype=torch.bool))


class TestChunks:
    @pytest.mark.parametrize("chunk", [1, 400, 1000])
    def test_at_inf_their_size_changes_nothing(self, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
        x, weight = (tensor.detach() for tensor in pair((23, 10, 17)))
        grad = normal(23, 10, seed=3)

        def everything() -> list[Tensor]:
            y, argmax = reference.inf_dist_argmax(x, weight)
            return [
                reference.norm_dist_forward(x, weight, INF),
                y,
                argmax,
                *reference.inf_dist_backward(grad, x, weight, argmax),
                *reference.inf_dist_bounds(x, x + 1, weight, True),
            ]

        whole = everything()
        monkeypatch.setattr(reference, "CHUNK", chunk)
        assert all(map(torch.equal, everything(), whole))

    @pytest.mark.parametrize("chunk", [1, 400, 1000])
    @pytest.mark.parametrize("p", [1.5, 8.0, 1000.0])
    def test_at_finite_p_it_changes_rounding_only(
        self, p: float, chunk: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x, weight = (tensor.detach() for tensor in pair((23, 10, 17)))
        grad, y = normal(23, 10, seed=3), reference.norm_dist_forward(x, weight, p)
        gradients = reference.norm_dist_backward(grad, x, weight, y, p)
        monkeypatch.setattr(reference, "CHUNK", chunk)
        torch.testing.assert_close(reference.norm_dist_forward(x, weight, p), y, rtol=5e-7, atol=0)
        again = reference.norm_dist_backward(grad, x, weight, y, p)
        torch.testing.assert_close(again, gradients, rtol=1e-6, atol=1e-5)

    def test_no_temporary_is_larger_than_a_chunk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reference, "CHUNK", 1000)
        slices = list(reference._chunks(23, 170))
        assert [s.stop - s.start for s in slices] == [5, 5, 5, 5, 3]


class TestLayout:
    @pytest.mark.parametrize("p", [8.0, INF])
    def test_strides_do_not_matter(self, p: float) -> None:
        grad = normal(10, 5, seed=3).T
        x, weight = pair((5, 10, 17))
        norm_dist(x, weight, p).backward(grad.contiguous())
        strided = [tensor.detach().T.contiguous().T.requires_grad_() for tensor in (x, weight)]
        y = norm_dist(strided[0], strided[1], p)
        y.backward(grad)
        torch.testing.assert_close(y, norm_dist(x, weight, p), rtol=5e-7 if p < INF else 0, atol=0)
        for there, here in zip(strided, (x, weight), strict=True):
            torch.testing.assert_close(there.grad, here.grad)

    def test_the_bounds_of_strided_boxes_are_the_same(self) -> None:
        lower, weight = normal(17, 6), normal(17, 10, seed=2)
        strided = inf_dist_bounds(lower.T, lower.T + 1, weight.T)
        plain = inf_dist_bounds(lower.T.contiguous(), lower.T.contiguous() + 1, weight.T.contiguous())
        assert all(map(torch.equal, strided, plain))

    @pytest.mark.usefixtures("restored_threads")
    def test_the_number_of_threads_does_not_matter(self) -> None:
        x, weight = (tensor.detach() for tensor in pair((200, 64, 65)))
        grad = normal(200, 64, seed=3)
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y, argmax = reference.inf_dist_argmax(x, weight)
            gradients = reference.inf_dist_backward(grad, x, weight, argmax)
            results.append([y, argmax, *gradients, *reference.inf_dist_bounds(x, x + 1, weight, True)])
        assert all(map(torch.equal, results[0], results[1])) and all(map(torch.equal, *results[1:]))
