"""Every variant of the compiled kernels that this machine can run, against the definition and float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linftui.ops import reference
from linftui.ops.cpu.kernels import CpuKernels
from linftui.ops.cpu.library import variants

INF = math.inf
VARIANTS = list(variants())
# p for each way to take a power: products, logarithms, each number of squarings, near terms alone.
EVERY_P = [
    *map(float, range(1, 10)),
    1.5,
    5.5,
    11.5,
    12.5,
    20.0,
    37.3,
    65.0,
    100.0,
    150.0,
    199.0,
    300.0,
    1000.0,
    1e4,
]
# Within one block of columns, over several, and sizes that fill no tile.
SHAPES = [(5, 10, 17), (3, 10, 1), (4, 10, 3), (33, 70, 100), (7, 3, 2100), (130, 100, 600)]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)

pytestmark = pytest.mark.skipif(not VARIANTS, reason="linftui was installed without a C++ compiler")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=VARIANTS)
def kernels(request: pytest.FixtureRequest) -> CpuKernels:
    return CpuKernels(variants()[request.param])


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int]:
    return draw(st.integers(1, 9)), draw(st.integers(1, 13)), draw(st.integers(1, 40))


def same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> bool:
    """Bit for bit: -0 is not 0."""
    pairs = zip(ours, theirs, strict=True)
    return all(torch.equal(a.view(torch.int32), b.view(torch.int32)) for a, b in pairs)


def backward_tolerance(p: float) -> float:
    """Of the largest gradient; a rounding of |d| / y counts p times."""
    return 3e-5 if p <= 100 else 3e-4 * max(1, p / 1000)


class TestAtInf:
    """Not a bit differs from the definition, but for the sign of a bound of 0 that is not rounded outward."""

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("ties", [False, True])
    def test_every_operation(self, kernels: CpuKernels, shape: tuple[int, int, int], ties: bool) -> None:
        n, m, k = shape
        x, weight, grad = normal(n, k), normal(m, k, seed=1), normal(n, m, seed=2)
        if ties:
            x, weight = x.round(), weight.round()
        y, argmax = kernels.inf_dist_argmax(x, weight)
        assert same((y, argmax), reference.inf_dist_argmax(x, weight))
        assert torch.equal(kernels.norm_dist_forward(x, weight, INF), y)
        arguments = (grad, x, weight, argmax)
        assert same(kernels.inf_dist_backward(*arguments), reference.inf_dist_backward(*arguments))
        upper = x + normal(n, k, seed=3).abs()
        for outward in (False, True):
            box = (x, upper, weight, outward)
            ours, theirs = kernels.inf_dist_bounds(*box), reference.inf_dist_bounds(*box)
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
            assert same(ours, theirs) or not outward

    @settings(deadline=None, max_examples=60)
    @given(shape=shapes(), data=st.data())
    def test_any_floats(self, shape: tuple[int, int, int], data: st.DataObject) -> None:
        n, m, k = shape
        few = st.lists(FLOATS, min_size=1, max_size=6)
        values = torch.tensor(data.draw(few), dtype=torch.float32)
        chosen = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
        x, weight, upper = (
            values[torch.randint(len(values), (rows, k), generator=chosen)] for rows in (n, m, n)
        )
        box = (torch.minimum(x, upper), torch.maximum(x, upper), weight, True)
        for library in variants().values():
            ours = CpuKernels(library)
            assert same(ours.inf_dist_argmax(x, weight), reference.inf_dist_argmax(x, weight))
            assert same(ours.inf_dist_bounds(*box), reference.inf_dist_bounds(*box))

    def test_bounds_step_over_zero_denormals_and_the_greatest_float(self, kernels: CpuKernels) -> None:
        tiny, greatest = 2.0**-149, 3.4028234663852886e38
        ends = torch.tensor([[0.0], [-0.0], [tiny], [-tiny], [2.0**-126], [greatest], [-greatest]])
        box = (ends, ends, torch.zeros(1, 1), True)
        assert same(kernels.inf_dist_bounds(*box), reference.inf_dist_bounds(*box))


class TestAtFiniteP:
    @pytest.mark.parametrize("p", EVERY_P)
    def test_it_is_as_right_as_float32_can_be(self, kernels: CpuKernels, p: float) -> None:
        for n, m, k in SHAPES[:5]:
            for scale in (1e-20, 1.0, 1e15):
                x, weight, grad = scale * normal(n, k), scale * normal(m, k, seed=1), normal(n, m, seed=2)
                y = kernels.norm_dist_forward(x, weight, p)
                exact = reference.norm_dist_forward(x.double(), weight.double(), p)
                assert (y / exact - 1).abs().max() <= 5e-7
                ours = kernels.norm_dist_backward(grad, x, weight, y, p)
                right = reference.norm_dist_backward(grad.double(), x.double(), weight.double(), exact, p)
                for a, b in zip(ours, right, strict=True):
                    assert (a - b).abs().max() <= backward_tolerance(p) * b.abs().max()

    @pytest.mark.parametrize("p", [1.0, 8.0, 12.5, 37.3, 1000.0])
    def test_threads_do_not_change_a_bit(self, kernels: CpuKernels, p: float) -> None:
        """Not even where a pair is equal, which is no case for powers of the plain differences."""
        x, weight, grad = normal(70, 300), normal(90, 300, seed=1), normal(70, 90, seed=2)
        x[69] = weight[89]
        threads, results = torch.get_num_threads(), []
        try:
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                y = kernels.norm_dist_forward(x, weight, p)
                results.append((y, *kernels.norm_dist_backward(grad, x, weight, y, p)))
        finally:
            torch.set_num_threads(threads)
        assert same(results[0], results[1]) and same(results[0], results[2])

    def test_dropped_terms_are_below_what_adam_can_see(
        self, kernels: CpuKernels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At p = 1000, with each of up to 90 dropped terms below 1e-13; 1e-10 is Adam's eps."""
        x, weight, grad = normal(70, 300), normal(90, 300, seed=1), 1e-3 * normal(70, 90, seed=2)
        y = kernels.norm_dist_forward(x, weight, 1000.0)
        dropped = kernels.norm_dist_backward(grad, x, weight, y, 1000.0)
        monkeypatch.setattr("linftui.ops.cpu.kernels.drop_below", lambda q: None)
        dense = kernels.norm_dist_backward(grad, x, weight, y, 1000.0)
        for a, b in zip(dropped, dense, strict=True):
            small = b.abs() < 1e-9  # elsewhere a rounding is as large as what is dropped
            assert small.sum() > 100 and not torch.equal(a[small], b[small])
            assert ((a - b)[small].abs() <= 90 * 1e-13 + 1e-6 * b[small].abs()).all()

    @pytest.mark.parametrize("p", [1.0, 8.0, 12.5, 37.3, 1000.0])
    def test_gradients_of_0_and_of_nan_reach_what_they_should(self, kernels: CpuKernels, p: float) -> None:
        x, weight = normal(9, 40), normal(11, 40, seed=1)
        y = kernels.norm_dist_forward(x, weight, p)
        grad = torch.zeros(9, 11)
        grad[3, 5] = math.nan
        grad_x, grad_weight = kernels.norm_dist_backward(grad, x, weight, y, p)
        assert grad_x.isnan().all(1).tolist() == [row == 3 for row in range(9)]
        assert grad_weight.isnan().all(1).tolist() == [row == 5 for row in range(11)]
        assert not grad_x.nan_to_num().any() and not grad_weight.nan_to_num().any()


class TestWhatIsNotOrdinary:
    @pytest.mark.parametrize("spoiler", [math.nan, INF, -INF])
    @pytest.mark.parametrize("p", [1.0, 8.0, 12.5, 37.3, 1000.0, INF])
    def test_it_is_as_in_the_definition(self, kernels: CpuKernels, p: float, spoiler: float) -> None:
        for place in (0, 16, 599):
            x, weight = normal(5, 600), normal(7, 600, seed=1)
            x[2, place], weight[4, place] = spoiler, spoiler
            ours, theirs = (b.norm_dist_forward(x, weight, p) for b in (kernels, reference))
            assert torch.equal(ours.isnan(), theirs.isnan()) and torch.equal(ours.isinf(), theirs.isinf())
            if math.isinf(p):
                box = (x, x, weight, True)
                for a, b in zip(kernels.inf_dist_bounds(*box), reference.inf_dist_bounds(*box), strict=True):
                    assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))

    @pytest.mark.parametrize("p", [1.0, 8.0, 37.3, 1000.0])
    def test_tensors_that_are_views_with_gaps(self, kernels: CpuKernels, p: float) -> None:
        x, weight = normal(40, 9).T, normal(22, 80, seed=1)[::2, ::2]
        grad = normal(11, 9, seed=2).T
        dense = x.contiguous(), weight.contiguous()
        y = kernels.norm_dist_forward(x, weight, p)
        assert torch.equal(y, kernels.norm_dist_forward(*dense, p))
        ours = kernels.norm_dist_backward(grad, x, weight, y, p)
        assert same(ours, kernels.norm_dist_backward(grad.contiguous(), *dense, y, p))


@pytest.mark.parametrize("p", [8.0, INF])
def test_a_convolution_with_groups_is_the_same_operation_on_unfolded_images(p: float) -> None:
    """y[n, o, i, j] is the distance of a patch of the group's channels to the filter."""
    from linftui.ops import norm_dist

    images, filters, groups = normal(2, 4, 6, 5).requires_grad_(), normal(6, 2, 3, 3, seed=1), 2
    patches = torch.nn.functional.unfold(images, 3, padding=1)  # [N, C * 9, L]
    outputs = []
    for part, own in zip(patches.chunk(groups, 1), filters.chunk(groups), strict=True):
        rows = part.transpose(1, 2).reshape(-1, part.shape[1])
        outputs.append(norm_dist(rows, own.flatten(1), p).view(2, -1, len(own)).transpose(1, 2))
    y = torch.cat(outputs, 1).view(2, 6, 6, 5)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    patch = padded[1, 2:4, 2:5, 1:4]  # where output (1, 4, 2, 1) of the second group looks
    expected = torch.linalg.vector_norm(patch - filters[4], p)
    assert torch.isclose(y[1, 4, 2, 1], expected, rtol=1e-6)
    ours, theirs = (
        torch.autograd.grad(value, images, retain_graph=True)[0] for value in (y[1, 4, 2, 1], expected)
    )
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6) and ours.any() and not ours[:, :2].any()
