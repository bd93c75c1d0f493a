"""On a GPU: parity at real sizes, bit-identity with the CPU, streams, graphs. Skipped where there is none."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from distance_problems import (
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
from torch import Tensor

from linftui.ops import backend_name, cuda, inf_dist_bounds, norm_dist, reference
from linftui.ops.cuda.choice import Method

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here"),
]

# Odd ones, one element, more than a block and a split each way, the shapes of small nets.
SHAPES = [
    (1, 1, 1),
    (5, 7, 33),
    (3, 300, 52),
    (129, 3, 17),
    (300, 200, 515),
    (128, 256, 768),
    (512, 1024, 1024),
]
DEVICE = "cuda"


def on_gpu(case: Problem) -> Problem:
    return Problem(case.x.to(DEVICE), case.weight.to(DEVICE), case.grad.to(DEVICE))


def same(got: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    pairs = [(a.cpu(), b.cpu()) for a, b in zip(got, expected, strict=True)]
    return all(
        torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in pairs
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_at_inf_every_bit_is_that_of_the_cpu(shape: tuple[int, int, int]) -> None:
    case = problem(*shape)
    gpu = on_gpu(case)
    y, argmax = reference.inf_dist_argmax(case.x, case.weight)
    assert same((cuda.norm_dist_forward(gpu.x, gpu.weight, INF),), (y,))
    assert same(cuda.inf_dist_argmax(gpu.x, gpu.weight), (y, argmax))
    got = cuda.inf_dist_backward(gpu.grad, gpu.x, gpu.weight, argmax.to(DEVICE))
    expected = reference.inf_dist_backward(case.grad, case.x, case.weight, argmax)
    assert max(gradient_errors((got[0].cpu(), got[1].cpu()), expected)) <= 1e-6
    for outward in (False, True):
        bounds = reference.inf_dist_bounds(case.x - 0.1, case.x + 0.1, case.weight, outward)
        box = (case.x - 0.1).to(DEVICE), (case.x + 0.1).to(DEVICE)
        assert same(cuda.inf_dist_bounds(*box, gpu.weight, outward), bounds)


def test_denormals_nan_and_infinities_at_inf() -> None:
    for case in (problem(3, 5, 20, scale=1e-41), spoilt((math.nan, INF, -INF), k=64)):
        gpu = on_gpu(case)
        y, argmax = reference.inf_dist_argmax(case.x, case.weight)
        assert same((cuda.norm_dist_forward(gpu.x, gpu.weight, INF),), (y,))
        assert same(cuda.inf_dist_argmax(gpu.x, gpu.weight), (y, argmax))
        bounds = reference.inf_dist_bounds(case.x, case.x, case.weight, True)
        assert same(cuda.inf_dist_bounds(gpu.x, gpu.x, gpu.weight, True), bounds)


@pytest.mark.parametrize("p", [1.0, 7.3, 8.0, 37.3, 300.0, INF])
def test_the_public_operators_use_them(p: float) -> None:
    """With their gradients, and as torch wants its operators."""
    case, gpu = problem(37, 41, 130), on_gpu(problem(37, 41, 130))
    x, weight = gpu.x.requires_grad_(), gpu.weight.requires_grad_()
    y = norm_dist(x, weight, p)
    y.backward(gpu.grad)
    assert torch.equal(y, cuda.norm_dist_forward(x.detach(), weight.detach(), p))
    here, there = case.x.requires_grad_(), case.weight.requires_grad_()
    norm_dist(here, there, p).backward(case.grad)
    assert x.grad is not None and weight.grad is not None and here.grad is not None and there.grad is not None
    assert torch.allclose(x.grad.cpu(), here.grad, rtol=1e-3, atol=1e-7)
    assert torch.allclose(weight.grad.cpu(), there.grad, rtol=1e-3, atol=1e-7)
    torch.library.opcheck(torch.ops.linftui.norm_dist, (x, weight, p if p < INF else 8.0))
    assert backend_name(x.device).startswith("cuda sm_")


def test_certificates_are_those_of_the_cpu() -> None:
    case = problem(130, 70, 196)
    gpu = on_gpu(case)
    bounds = inf_dist_bounds(gpu.x - 0.1, gpu.x + 0.1, gpu.weight)
    assert same(bounds, inf_dist_bounds(case.x - 0.1, case.x + 0.1, case.weight))
    assert same((norm_dist(gpu.x, gpu.weight, INF),), (norm_dist(case.x, case.weight, INF),))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("p", "method"), METHODS)
def test_finite_p_against_float64(p: float, method: Method, shape: tuple[int, int, int]) -> None:
    gpu = on_gpu(problem(*shape))
    expected = gpu.distances(p)
    # Sums of K terms at p = 1 and 2, where no root forgives their rounding.
    slack = 4 if p < 4 and shape[2] > 500 else 1
    assert relative_error(
        cuda.norm_dist_forward(gpu.x, gpu.weight, p, method), expected
    ) <= slack * forward_tolerance(p)
    got = cuda.norm_dist_backward(gpu.grad, gpu.x, gpu.weight, expected.float(), p, method)
    assert max(gradient_errors(got, gpu.gradients(p))) <= backward_tolerance(p)


@pytest.mark.parametrize("p", [8.0, 8.5, 37.3, 100.0, 1000.0, INF])
def test_a_layer_of_the_paper(p: float) -> None:
    """Some rows and columns of 512 x 5120 x 5120 against float64, every output against NaN."""
    case = problem(512, 5120, 5120, device=DEVICE)
    y = cuda.norm_dist_forward(case.x, case.weight, p)
    rows, columns = torch.arange(0, 512, 37, device=DEVICE), torch.arange(0, 5120, 411, device=DEVICE)
    part = Problem(case.x[rows], case.weight[columns], case.grad[rows][:, columns])
    assert relative_error(y[rows][:, columns], part.distances(p)) <= FORWARD_TOLERANCE
    assert y.isfinite().all()


@pytest.mark.parametrize("values", [(math.nan,), (INF, -INF)])
@pytest.mark.parametrize("p", [1.0, 8.0, 7.3, 37.3, 300.0, INF])
def test_special_values(p: float, values: tuple[float, ...]) -> None:
    case = spoilt(values)
    gpu = on_gpu(case)
    expected = reference.norm_dist_forward(case.x, case.weight, p)
    y = cuda.norm_dist_forward(gpu.x, gpu.weight, p).cpu()
    assert torch.equal(y.isnan(), expected.isnan()) and torch.equal(y.isinf(), expected.isinf())
    if p < INF:
        got = cuda.norm_dist_backward(gpu.grad, gpu.x, gpu.weight, expected.to(DEVICE), p)
        gradients = reference.norm_dist_backward(case.grad, case.x, case.weight, expected, p)
        for here, there in zip(got, gradients, strict=True):
            assert torch.allclose(here.cpu(), there, rtol=1e-3, atol=1e-8, equal_nan=True)


Step = Callable[[Problem], tuple[Tensor, ...]]


def step_at(p: float) -> Step:
    exponent = cuda.Exponent(p, torch.device(DEVICE)) if p < INF else p

    def step(case: Problem) -> tuple[Tensor, ...]:
        if math.isinf(p):
            y, argmax = cuda.inf_dist_argmax(case.x, case.weight)
            return y, *cuda.inf_dist_backward(case.grad, case.x, case.weight, argmax)
        y = cuda.norm_dist_forward(case.x, case.weight, exponent)
        return y, *cuda.norm_dist_backward(case.grad, case.x, case.weight, y, exponent)

    return step


EVERY_KIND = [8.0, 12.5, 300.0, INF]


@pytest.mark.parametrize("p", EVERY_KIND)
def test_twice_the_same_is_the_same_to_the_bit(p: float) -> None:
    case = on_gpu(problem(260, 300, 515))
    first = step_at(p)(case)
    for _ in range(5):
        assert all(map(torch.equal, step_at(p)(case), first))


@pytest.mark.parametrize("p", EVERY_KIND)
def test_a_captured_graph_follows_its_inputs(p: float) -> None:
    case, other = on_gpu(problem(64, 96, 100)), on_gpu(problem(64, 96, 100, scale=2))
    step = step_at(p)
    step(case)  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(case)
    case.x.copy_(other.x), case.weight.copy_(other.weight)
    graph.replay()
    torch.cuda.synchronize()
    assert all(map(torch.equal, captured, step(case)))


def test_a_capture_that_could_not_be_right_is_refused() -> None:
    case = on_gpu(problem(64, 96, 100))
    cuda.norm_dist_forward(case.x, case.weight, 12.5)
    torch.cuda.synchronize()
    with (
        pytest.raises(RuntimeError, match="needs p as an Exponent"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        cuda.norm_dist_forward(case.x, case.weight, 12.5)


def test_a_captured_graph_follows_p() -> None:
    case, exponent = on_gpu(problem(64, 96, 100)), cuda.Exponent(33.0, torch.device(DEVICE))
    cuda.norm_dist_forward(case.x, case.weight, exponent, "dense")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = cuda.norm_dist_forward(case.x, case.weight, exponent, "dense")
    for p in (35.0, 60.0):
        exponent.update(p)
        graph.replay()
        assert relative_error(y, case.distances(p)) <= FORWARD_TOLERANCE


@pytest.mark.parametrize("p", EVERY_KIND)
def test_work_is_ordered_by_the_current_stream(p: float) -> None:
    """A slow copy on another stream, then the operation there: it must wait for it."""
    case = on_gpu(problem(128, 256, 515))
    expected = step_at(p)(case)
    stale = Problem(torch.zeros_like(case.x), torch.zeros_like(case.weight), case.grad)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        stale.x.copy_(case.x), stale.weight.copy_(case.weight)
        got = step_at(p)(stale)
    stream.synchronize()
    assert all(map(torch.equal, got, expected))


def test_two_models_at_once() -> None:
    """Two threads with a stream each: nothing that kernels share is written by both."""
    cases = [on_gpu(problem(130, 200, 515)), on_gpu(problem(64, 300, 260))]
    expected = [[step_at(p)(case) for p in EVERY_KIND] for case in cases]
    torch.cuda.synchronize()

    def model(i: int) -> int:
        right = 0
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(20):
                for p, answer in zip(EVERY_KIND, expected[i], strict=True):
                    got = step_at(p)(cases[i])
                    torch.cuda.current_stream().synchronize()
                    right += all(map(torch.equal, got, answer))
        return right

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(model, range(2))) == [20 * len(EVERY_KIND)] * 2


def test_a_thread_that_torch_has_not_been_in_may_launch() -> None:
    """Its memory comes from blocks that are free already, so that nothing but a kernel needs a context."""
    case = on_gpu(problem(5, 7, 33))
    y = cuda.norm_dist_forward(case.x, case.weight, 37.3)
    expected = cuda.norm_dist_backward(case.grad, case.x, case.weight, y, 37.3)
    del expected
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(cuda.norm_dist_backward, case.grad, case.x, case.weight, y, 37.3).result()
    assert max(gradient_errors(got, case.gradients(37.3))) <= backward_tolerance(37.3)


def test_survivors_are_few_on_gaussian_data() -> None:
    case = problem(128, 512, 5120, device=DEVICE)
    counters = cuda.survivors_of(case.x.device)
    counters.read()
    for p, most in ((100.0, 0.1), (1000.0, 0.03)):
        step_at(p)(case)
        forward, backward = counters.read()
        assert forward is not None and backward is not None
        assert 0 < forward < most and 0 < backward < most
    counters.rates = (None, None)
