"""The CUDA kernels, executed on the CPU from the same sources, against the definition."""

import math

import pytest
import torch
from distance_problems import (
    FEW_METHODS,
    FORWARD_TOLERANCE,
    INF,
    METHODS,
    Problem,
    backward_tolerance,
    forward_tolerance,
    gradient_errors,
    problem,
    relative_error,
    spoilt,
)
from host_launcher import HostLauncher
from torch import Tensor

from linftui.ops import cuda, norm_dist, reference, registration
from linftui.ops.cuda.choice import Method
from linftui.ops.cuda.powers import form_of

# Odd everything; a K that is a multiple of 4 (rows aligned) and several splits; more than one tile each way.
SHAPES = [(5, 7, 33), (3, 131, 52), (129, 3, 17)]


def same(got: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    """Bit for bit, NaN equal to NaN."""
    return all(
        torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(7), b.nan_to_num(7))
        for a, b in zip(got, expected, strict=True)
    )


@pytest.mark.usefixtures("host")
class TestInf:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_every_bit_is_that_of_the_definition(self, shape: tuple[int, int, int]) -> None:
        case = problem(*shape)
        x, weight = case.x, case.weight
        assert same((cuda.norm_dist_forward(x, weight, INF),), (reference.norm_dist_forward(x, weight, INF),))
        y, argmax = reference.inf_dist_argmax(x, weight)
        assert same(cuda.inf_dist_argmax(x, weight), (y, argmax))
        got = cuda.inf_dist_backward(case.grad, x, weight, argmax)
        assert max(gradient_errors(got, reference.inf_dist_backward(case.grad, x, weight, argmax))) <= 1e-6
        for outward in (False, True):
            box = x - 0.1, x + 0.1
            expected = reference.inf_dist_bounds(*box, weight, outward)
            assert same(cuda.inf_dist_bounds(*box, weight, outward), expected)

    def test_ties_go_to_the_first_index(self) -> None:
        case = problem(4, 70, 150)
        x, weight = case.x.round(), case.weight.round()  # most maxima are attained several times
        weight[3] = x[2]  # and one distance is 0
        y, argmax = cuda.inf_dist_argmax(x, weight)
        assert same((y, argmax), reference.inf_dist_argmax(x, weight))
        assert y[2, 3] == 0 and argmax[2, 3] == 0

    def test_nan_and_infinities_behave_as_in_the_definition(self) -> None:
        case = spoilt((math.nan, INF, -INF))
        x, weight = case.x, case.weight
        assert same((cuda.norm_dist_forward(x, weight, INF),), (reference.norm_dist_forward(x, weight, INF),))
        y, argmax = reference.inf_dist_argmax(x, weight)
        assert same(cuda.inf_dist_argmax(x, weight), (y, argmax))
        expected = reference.inf_dist_backward(case.grad, x, weight, argmax)
        assert max(gradient_errors(cuda.inf_dist_backward(case.grad, x, weight, argmax), expected)) <= 1e-6
        for outward in (False, True):
            bounds = reference.inf_dist_bounds(x - 1, x + 1, weight, outward)
            assert same(cuda.inf_dist_bounds(x - 1, x + 1, weight, outward), bounds)

    def test_denormals_are_kept(self) -> None:
        case = problem(3, 5, 20, scale=1e-41)
        expected = reference.norm_dist_forward(case.x, case.weight, INF)
        assert expected.max() > 0 and same((cuda.norm_dist_forward(case.x, case.weight, INF),), (expected,))
        bounds = reference.inf_dist_bounds(case.x, case.x, case.weight, True)
        assert same(cuda.inf_dist_bounds(case.x, case.x, case.weight, True), bounds)

    def test_a_row_wider_than_a_window_gets_its_gradient(self) -> None:
        case = problem(2, 9, 8192 + 37)
        case.x[:, 8200] = 50
        _, argmax = reference.inf_dist_argmax(case.x, case.weight)
        case.grad[:, 0] = 1
        argmax[:, 0] = 5
        got = cuda.inf_dist_backward(case.grad, case.x, case.weight, argmax)
        expected = reference.inf_dist_backward(case.grad, case.x, case.weight, argmax)
        assert max(gradient_errors(got, expected)) <= 1e-6


@pytest.mark.usefixtures("host")
class TestFiniteP:
    @pytest.mark.parametrize(("p", "method"), FEW_METHODS)
    def test_values_and_gradients_against_float64(self, p: float, method: Method) -> None:
        for shape in SHAPES[:2]:
            check(problem(*shape), p, method)

    @pytest.mark.thorough
    @pytest.mark.parametrize(("p", "method"), METHODS)
    def test_values_and_gradients_at_more_sizes(self, p: float, method: Method) -> None:
        for shape in [*SHAPES, (1, 1, 1), (2, 65, 4), (140, 130, 100)]:
            check(problem(*shape), p, method)

    @pytest.mark.parametrize("scale", [1e-20, 1e15])
    @pytest.mark.parametrize(
        ("p", "method"), [(1.0, "dense"), (8.0, "dense"), (37.3, "dense"), (300.0, "pruned")]
    )
    def test_at_any_scale(self, p: float, method: Method, scale: float) -> None:
        check(problem(3, 6, 20, scale), p, method)

    @pytest.mark.parametrize(
        ("p", "method"), [(3.0, "dense"), (8.0, "dense"), (20.0, "dense"), (300.0, "pruned")]
    )
    def test_rows_beyond_a_block_of_the_backward(self, p: float, method: Method) -> None:
        check(problem(261, 5, 33), p, method)

    @pytest.mark.parametrize("values", [(math.nan,), (INF, -INF)])
    @pytest.mark.parametrize(
        ("p", "method"), [(1.0, "dense"), (8.0, "dense"), (37.3, "dense"), (7.3, "dense"), (300.0, "pruned")]
    )
    def test_special_values_behave_as_in_the_definition(
        self, p: float, method: Method, values: tuple[float, ...]
    ) -> None:
        case = spoilt(values)
        case.weight[5] = case.x[6]  # a distance of 0
        expected = reference.norm_dist_forward(case.x, case.weight, p)
        y = cuda.norm_dist_forward(case.x, case.weight, p, method)
        assert torch.equal(y.isnan(), expected.isnan()) and torch.equal(y.isinf(), expected.isinf())
        assert y[6, 5] == 0 and expected.isnan().any() and not expected.isnan().all()
        got = cuda.norm_dist_backward(case.grad, case.x, case.weight, expected, p, method)
        gradients = reference.norm_dist_backward(case.grad, case.x, case.weight, expected, p)
        for here, there in zip(got, gradients, strict=True):
            assert torch.equal(here.isnan(), there.isnan())
            assert torch.allclose(here, there, rtol=1e-3, atol=1e-8, equal_nan=True)

    @pytest.mark.parametrize("distance", [1e-3, 1e-4, 3e-5, 1e-5, 3e-6, 1e5, 1e6])
    def test_an_eighth_power_near_the_ends_of_float32(self, distance: float) -> None:
        """It is done again with a scale where some terms underflow, or all overflow."""
        check(problem(3, 4, 40, distance), 8.0, "dense")

    def test_a_small_distance_among_large_ones_is_right_too(self) -> None:
        """Its eighth power underflows beside theirs; it is noticed and done again."""
        case = problem(4, 6, 40)
        case.weight[2] = case.x[1] + 1e-6 * torch.rand(40, generator=torch.Generator().manual_seed(0))
        check(case, 8.0, "dense")

    def test_rows_far_from_0_that_are_near_each_other(self) -> None:
        """What stands beyond N and M must not be taken for a difference: its fourth power would overflow."""
        x, weight = torch.full((3, 20), 2.0**32), torch.full((3, 20), 2.0**32)
        x[:, 0] += 512
        check(Problem(x, weight, torch.ones(3, 3)), 8.0, "dense")

    @pytest.mark.parametrize("p", [8.0, 12.5, 37.3, 300.0])
    def test_as_many_inputs_as_the_paper_has(self, p: float) -> None:
        """K = 5120: long sums, thresholds and the polynomial's error added 5120 times."""
        check(problem(2, 3, 5120), p, "pruned" if p > 100 else "dense")


def check(case: Problem, p: float, method: Method) -> None:
    y = cuda.norm_dist_forward(case.x, case.weight, p, method)
    assert relative_error(y, case.distances(p)) <= forward_tolerance(p)
    got = cuda.norm_dist_backward(case.grad, case.x, case.weight, case.distances(p).float(), p, method)
    assert max(gradient_errors(got, case.gradients(p))) <= backward_tolerance(p)


@pytest.mark.usefixtures("host")
class TestEdges:
    @pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
    @pytest.mark.parametrize("p", [8.0, 300.0, INF])
    def test_empty_sizes(self, shape: tuple[int, int, int], p: float) -> None:
        case = problem(*shape)
        expected = reference.norm_dist_forward(case.x, case.weight, p)
        assert torch.equal(cuda.norm_dist_forward(case.x, case.weight, p), expected)
        got = cuda.norm_dist_backward(case.grad, case.x, case.weight, expected, 8.0)
        assert same(got, (torch.zeros_like(case.x), torch.zeros_like(case.weight)))
        assert same(
            cuda.inf_dist_bounds(case.x, case.x, case.weight, True),
            reference.inf_dist_bounds(case.x, case.x, case.weight, True),
        )

    def test_strides_do_not_matter(self) -> None:
        case = problem(6, 5, 20)
        strided = case.x.T.contiguous().T
        for p in (8.0, INF):
            here = cuda.norm_dist_forward(strided, case.weight, p)
            assert torch.equal(here, cuda.norm_dist_forward(case.x, case.weight, p))

    def test_rows_that_start_off_a_multiple_of_16_bytes(self, host: HostLauncher) -> None:
        case = problem(6, 5, 20)
        shifted = torch.empty(121)[1:].view(6, 20).copy_(case.x)
        expected = reference.norm_dist_forward(case.x, case.weight, INF)
        assert torch.equal(cuda.norm_dist_forward(shifted, case.weight, INF), expected)
        assert ("ROWS_ALIGNED", 0) in host.launches[0][0].defines


class TestOperators:
    """What `linftui.ops` and the layers call, with the GPU's kernels behind it."""

    @pytest.fixture(autouse=True)
    def gpu_kernels(self, host: HostLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registration, "backend_for", lambda x: cuda)

    @pytest.mark.parametrize("p", [2.5, 8.0, 37.3, 300.0, INF])
    def test_values_and_gradients(self, p: float, host: HostLauncher) -> None:
        case = problem(6, 5, 20)
        x, weight = case.x.requires_grad_(), case.weight.requires_grad_()
        y = norm_dist(x, weight, p)
        y.backward(case.grad)
        a, b = (t.detach().double().requires_grad_() for t in (x, weight))
        expected = _reference_dist(a, b, p)
        expected.backward(case.grad.double())
        assert relative_error(y.detach(), expected.detach()) <= forward_tolerance(p)
        assert x.grad is not None and weight.grad is not None and a.grad is not None and b.grad is not None
        assert max(gradient_errors((x.grad, weight.grad), (a.grad, b.grad))) <= backward_tolerance(p)
        assert host.launches

    def test_torch_finds_no_fault_with_them(self) -> None:
        case = problem(3, 4, 8)
        torch.library.opcheck(torch.ops.linftui.norm_dist, (case.x.requires_grad_(), case.weight, 37.3))
        torch.library.opcheck(torch.ops.linftui.inf_dist_argmax, (case.x, case.weight))
        box = case.x.detach(), case.x.detach() + 1
        torch.library.opcheck(torch.ops.linftui.inf_dist_bounds, (*box, case.weight, True))


def _reference_dist(x: Tensor, weight: Tensor, p: float) -> Tensor:
    d = (x[:, None] - weight).abs()
    return d.amax(-1) if p == INF else d.pow(p).sum(-1).pow(1 / p)


ONCE = [(37.3, "dense"), (8.0, "dense"), (300.0, "pruned"), (INF, None)]


class TestNothingIsDoneTwice:
    """What fast kernels decline is computed again with care, which would hide a fast kernel that is wrong."""

    @pytest.mark.parametrize(("p", "method"), ONCE)
    def test_of_ordinary_numbers_the_fast_kernels_decline_none(
        self, p: float, method: Method | None, host: HostLauncher
    ) -> None:
        case = problem(5, 7, 33)
        cuda.norm_dist_forward(case.x, case.weight, p, method)
        if p == INF:
            cuda.inf_dist_argmax(case.x, case.weight)
            cuda.inf_dist_bounds(case.x - 1, case.x + 1, case.weight, True)
        fast = [launch for launch in host.launches if launch[0].source != "finish.cu"]
        assert {kernel.source for kernel, _, _ in fast} <= {"fold.cu", "argmax.cu", "power.cu", "scan.cu"}
        for kernel, _, arguments in fast:
            results = [a for a in arguments if isinstance(a, Tensor) and a.is_floating_point()]
            assert all(result.isfinite().all() for result in results), kernel.name


class TestChoice:
    def test_the_method_follows_p_and_what_was_measured(self, host: HostLauncher) -> None:
        case = problem(3, 4, 40)

        def sources(p: float) -> set[str]:
            host.launches.clear()
            y = cuda.norm_dist_forward(case.x, case.weight, p)
            cuda.norm_dist_backward(case.grad, case.x, case.weight, y, p)
            return {kernel.source for kernel, _, _ in host.launches} - {"finish.cu", "pack.cu"}

        assert sources(8.0) == {"power.cu", "gradient.cu"}
        assert sources(20.0) == {"fold.cu", "power.cu", "gradient.cu"}
        assert sources(300.0) == {"fold.cu", "scan.cu", "gradient_scan.cu"}
        forward, backward = cuda.survivors_of(case.x.device).read()
        assert forward is not None and backward is not None
        # Where more survive, the dense kernels are chosen, each way for itself.
        assert 0 < forward < 0.5 and 0 < backward < 0.5
        cuda.survivors_of(case.x.device).rates = (0.9, None)
        assert sources(300.0) == {"fold.cu", "power.cu", "gradient_scan.cu"}
        cuda.survivors_of(case.x.device).rates = (None, 0.9)
        assert sources(300.0) == {"fold.cu", "scan.cu", "gradient.cu"}

    def test_the_counters_count_every_group_once(self, host: HostLauncher) -> None:
        case = problem(3, 4, 42)
        cuda.norm_dist_forward(case.x, case.weight, 300.0)
        cuda.norm_dist_backward(case.grad, case.x, case.weight, case.distances(300.0).float(), 300.0)
        counts = cuda.survivors_of(case.x.device).counts.tolist()
        assert counts[0][1] == 3 * 4 * 11 and counts[1][1] == 3 * 42 * 1
        assert 12 <= counts[0][0] <= counts[0][1] and 3 <= counts[1][0] <= counts[1][1]
        assert cuda.survivors_of(case.x.device).read()[0] == counts[0][0] / counts[0][1]

    def test_an_exponent_serves_every_p_of_its_form(self, host: HostLauncher) -> None:
        case = problem(3, 4, 20)
        exponent = cuda.Exponent(33.0, case.x.device)
        address = exponent.numbers.data_ptr()
        for p in (33.0, 40.0, 63.0):
            exponent.update(p)
            y = cuda.norm_dist_forward(case.x, case.weight, exponent, "dense")
            assert relative_error(y, case.distances(p)) <= FORWARD_TOLERANCE
        assert exponent.numbers.data_ptr() == address
        with pytest.raises(ValueError, match=r"p = 64.5 needs special functions \+ polynomial 6 squared 5"):
            exponent.update(64.5)
        assert form_of(63.0) == exponent.form
