"""Inputs at the ends of what the compiled kernels take, and beyond: against float64, for every variant."""

import math
from threading import Thread

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
WHOLE_P = [float(p) for p in range(1, 9)]
pytestmark = pytest.mark.skipif(not VARIANTS, reason="linftui was installed without a C++ compiler")


@pytest.fixture(params=VARIANTS)
def kernels(request: pytest.FixtureRequest) -> CpuKernels:
    return CpuKernels(variants()[request.param])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def backward_error(kernels: CpuKernels, grad: Tensor, x: Tensor, weight: Tensor, p: float) -> float:
    """The largest error of a gradient, as a part of the most |grad| that meets in a sum."""
    y = kernels.norm_dist_forward(x, weight, p)
    exact = reference.norm_dist_forward(x.double(), weight.double(), p)
    ours = kernels.norm_dist_backward(grad, x, weight, y, p)
    right = reference.norm_dist_backward(grad.double(), x.double(), weight.double(), exact, p)
    most = max(grad.double().abs().sum(axis).max() for axis in (0, 1))
    errors = torch.stack([((a - b).abs() / most).max() for a, b in zip(ours, right, strict=True)])
    return float(errors.max())  # NaN if one of them is, which Python's max() may lose


@settings(deadline=None, max_examples=100)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 13),
    k=st.integers(1, 70),
    scale=st.floats(-20, 15).map(lambda e: 10.0**e),
    p=st.floats(0, 4).map(lambda e: 10.0**e) | st.sampled_from([*WHOLE_P, 11.5, 12.5, 1e4]),
    ties=st.booleans(),
    equal_rows=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_sizes_scales_and_p(
    n: int, m: int, k: int, scale: float, p: float, ties: bool, equal_rows: bool, seed: int
) -> None:
    x, weight, grad = (normal(*shape, seed=seed + i) for i, shape in enumerate([(n, k), (m, k), (n, m)]))
    if ties:
        x, weight = x.round(), weight.round()
    if equal_rows:
        x[-1] = weight[-1]
    x, weight = scale * x, scale * weight
    exact = reference.norm_dist_forward(x.double(), weight.double(), p)
    for library in variants().values():
        ours = CpuKernels(library)
        y = ours.norm_dist_forward(x, weight, p)
        assert ((y - exact).abs() <= 5e-7 * exact).all()
        assert backward_error(ours, grad, x, weight, p) <= 3e-5 * max(1, p / 100)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), p=st.sampled_from([1.0, 8.0, 12.5, 37.3, 1000.0]), k=st.integers(1, 70))
def test_nan_and_infinities_anywhere(data: st.DataObject, p: float, k: int) -> None:
    x, weight, grad = normal(5, k), normal(7, k, seed=1), normal(5, 7, seed=2)
    for tensor in (x, weight):
        row, column = data.draw(st.integers(0, len(tensor) - 1)), data.draw(st.integers(0, k - 1))
        tensor[row, column] = data.draw(st.sampled_from([math.nan, INF, -INF, 0.0]))
    for library in variants().values():
        ours = CpuKernels(library)
        y, theirs = (b.norm_dist_forward(x, weight, p) for b in (ours, reference))
        assert torch.allclose(y, theirs, rtol=1e-6, atol=0, equal_nan=True)
        gradients = (b.norm_dist_backward(grad, x, weight, y, p) for b in (ours, reference))
        for a, b in zip(*gradients, strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)
        y, argmax = ours.inf_dist_argmax(x, weight)
        right = reference.inf_dist_argmax(x, weight)
        assert torch.equal(y.nan_to_num(7.0), right[0].nan_to_num(7.0)) and torch.equal(argmax, right[1])
        backward = (b.inf_dist_backward(grad, x, weight, argmax) for b in (ours, reference))
        assert all(torch.equal(a, b) for a, b in zip(*backward, strict=True))


@pytest.mark.parametrize("p", [10_001.0, 40_000.0])
def test_a_p_beyond_what_kernels_can_is_the_definitions(kernels: CpuKernels, p: float) -> None:
    x, weight, grad = normal(6, 40), normal(5, 40, seed=1), normal(6, 5, seed=2)
    y = kernels.norm_dist_forward(x, weight, p)
    assert torch.equal(y, reference.norm_dist_forward(x, weight, p))
    ours, theirs = (b.norm_dist_backward(grad, x, weight, y, p) for b in (kernels, reference))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("p", WHOLE_P)
def test_an_output_does_not_depend_on_the_others(kernels: CpuKernels, p: float) -> None:
    """An equal pair and a tiny distance take the way of powers of ratios; their neighbours do not."""
    x, weight = normal(128, 64), normal(96, 64, seed=1)
    ordinary = kernels.norm_dist_forward(x, weight, p)
    spoilt, others = x.clone(), weight.clone()
    spoilt[127], others[7] = 0, 0
    spoilt[127, 3] = 1e-20
    y = kernels.norm_dist_forward(spoilt, others, p)
    assert y[127, 7] == torch.tensor(1e-20)
    kept = [m for m in range(96) if m != 7]
    assert torch.equal(y[:127, kept], ordinary[:127, kept])
    assert torch.equal(y[5:6], kernels.norm_dist_forward(spoilt[5:6], others, p))


@pytest.mark.parametrize("p", [11.5, 12.5, 13.0, 15.9, 16.1, 20.0, 28.0, 37.3, 63.0, 100.0, 199.0])
@pytest.mark.parametrize("k", [1000, 5120])
def test_many_equal_small_terms(kernels: CpuKernels, p: float, k: int) -> None:
    """Their sum is as large as the one term of 1, so that an error of the small power is one of the sum."""
    for bits in (5.0, 8.0, 10.0, 11.5, 12.0, 12.5, 14.0, 17.0):
        x = torch.full((1, k), 2 ** (-bits / p))
        x[0, 0] = 1
        y = kernels.norm_dist_forward(x, torch.zeros(1, k), p)
        exact = reference.norm_dist_forward(x.double(), torch.zeros(1, k).double(), p)
        assert (y / exact - 1).abs().item() <= 5e-7


@pytest.mark.parametrize("p", [1.0, 5.0, 8.0, 9.5, 12.5, 16.0, 37.3, 100.0, 300.0, 1000.0])
def test_no_gradient_where_there_is_no_difference(kernels: CpuKernels, p: float) -> None:
    x, weight = normal(9, 40), normal(11, 40, seed=1)
    x[:, 7] = weight[:, 7] = 0
    y = kernels.norm_dist_forward(x, weight, p)
    grad_x, grad_weight = kernels.norm_dist_backward(1e3 * normal(9, 11, seed=2), x, weight, y, p)
    assert not grad_x[:, 7].any() and not grad_weight[:, 7].any()
    assert grad_x.any() and grad_weight.any()


@pytest.mark.parametrize("p", [1.0, 5.0, 8.0, 9.5, 12.5, 37.3, 300.0, 1000.0])
@pytest.mark.parametrize("given", [1.0, INF, math.nan])
def test_an_equal_pair_has_no_gradient_whatever_is_given(kernels: CpuKernels, p: float, given: float) -> None:
    x, weight, grad = normal(9, 40), normal(11, 40, seed=1), normal(9, 11, seed=2)
    x[4] = weight[10]
    grad[4, 10] = given
    y = kernels.norm_dist_forward(x, weight, p)
    with_it = kernels.norm_dist_backward(grad, x, weight, y, p)
    grad[4, 10] = 0
    without = kernels.norm_dist_backward(grad, x, weight, y, p)
    assert y[4, 10] == 0
    torch.testing.assert_close(with_it, without, rtol=0, atol=1e-5)


@pytest.mark.parametrize("p", [2.0, 5.0, 8.0, 12.5, 37.3])
@pytest.mark.parametrize("size", [1e-35, 1e-15, 1e13, 1e30])
@pytest.mark.parametrize("distance", [1e-4, 1.0, 3e2])
def test_gradients_of_any_size(kernels: CpuKernels, p: float, size: float, distance: float) -> None:
    x, weight = distance * normal(9, 40), distance * normal(11, 40, seed=1)
    grad = size * normal(9, 11, seed=2)
    grad[3, 4] *= 1e-3
    assert backward_error(kernels, grad, x, weight, p) <= 3e-5


@pytest.mark.parametrize("p", [1.0, 12.5, INF])
def test_no_rows_of_weight(kernels: CpuKernels, p: float) -> None:
    x, none = normal(3, 4), torch.empty(0, 4)
    y = kernels.norm_dist_forward(x, none, p)
    assert y.shape == (3, 0)
    if p < INF:
        grad_x, grad_weight = kernels.norm_dist_backward(y, x, none, y, p)
    else:
        grad_x, grad_weight = kernels.inf_dist_backward(y, x, none, kernels.inf_dist_argmax(x, none)[1])
    assert torch.equal(grad_x, torch.zeros(3, 4)) and grad_weight.shape == (0, 4)


def test_two_python_threads_at_once(kernels: CpuKernels) -> None:
    problems = [(normal(60, 200, seed=s), normal(50, 200, seed=s + 1), p) for s, p in enumerate([8.0, 37.3])]
    alone = [kernels.norm_dist_forward(*problem) for problem in problems]
    wrong = []

    def work(i: int) -> None:
        for _ in range(50):
            if not torch.equal(kernels.norm_dist_forward(*problems[i]), alone[i]):
                wrong.append(i)

    threads = [Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
