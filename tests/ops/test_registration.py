"""The operators as torch sees them, and what the public functions in front of them refuse."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from inspect import unwrap

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from linftui.ops import backend_name, cuda, inf_dist_bounds, norm_dist, reference
from linftui.ops.backends import backend_for, kernels_at


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        ("norm_dist", lambda: (normal(3, 5).requires_grad_(), normal(4, 5).requires_grad_(), 8.0)),
        ("norm_dist", lambda: (normal(3, 5).requires_grad_(), normal(4, 5), 37.3)),
        ("norm_dist_backward", lambda: (normal(3, 4), normal(3, 5), normal(4, 5), normal(3, 4).abs(), 8.0)),
        ("inf_dist_argmax", lambda: (normal(3, 5).requires_grad_(), normal(4, 5).requires_grad_())),
        (
            "inf_dist_backward",
            lambda: (normal(3, 4), normal(3, 5), normal(4, 5), torch.zeros(3, 4, dtype=torch.int64)),
        ),
        ("inf_dist_bounds", lambda: (normal(3, 5), normal(3, 5) + 1, normal(4, 5), True)),
        (
            "norm_dist_at",
            lambda: (normal(3, 5).requires_grad_(), normal(4, 5).requires_grad_(), torch.tensor(8.0)),
        ),
    ],
)
def test_torch_finds_no_fault_with_the_operator(
    operator: str, arguments: Callable[[], tuple[object, ...]]
) -> None:
    torch.library.opcheck(getattr(torch.ops.linftui, operator), arguments())


@pytest.mark.parametrize("p", [8.0, math.inf])
def test_p_may_be_a_tensor_without_dimensions(p: float) -> None:
    x, weight = normal(3, 5), normal(4, 5)
    assert torch.equal(norm_dist(x, weight, torch.tensor(p)), norm_dist(x, weight, p))


@pytest.mark.parametrize("p", [0.999, 0.0, -2.0, -math.inf, math.nan])
def test_a_p_that_is_no_norm_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=r"p must be >= 1 or infinite, got"):
        norm_dist(normal(3, 5), normal(4, 5), p)


@pytest.mark.parametrize(
    ("x", "weight"), [((3, 5), (4, 6)), ((3, 5), (4, 0)), ((3, 5), (4, 5, 1)), ((5,), (4, 5)), ((3, 5), (5,))]
)
def test_shapes_that_do_not_fit_are_refused(x: tuple[int, ...], weight: tuple[int, ...]) -> None:
    # Around the annotations, which say the same and are checked in tests only.
    with pytest.raises(ValueError, match=r"x must be \[N, K\] and weight \[M, K\] with the same K, got \("):
        unwrap(norm_dist)(torch.zeros(x), torch.zeros(weight), 8.0)
    with pytest.raises(ValueError, match=r"lower must be \[N, K\] and weight \[M, K\] with the same K"):
        unwrap(inf_dist_bounds)(torch.zeros(x), torch.zeros(x), torch.zeros(weight))


@pytest.mark.parametrize(
    ("x", "weight"),
    [(torch.float32, torch.float64), (torch.int64, torch.int64), (torch.complex64, torch.complex64)],
)
def test_dtypes_that_do_not_fit_are_refused(x: torch.dtype, weight: torch.dtype) -> None:
    tensors = torch.zeros(3, 5, dtype=x), torch.zeros(4, 5, dtype=weight)
    with pytest.raises(ValueError, match="must share one floating dtype and device, got torch"):
        unwrap(norm_dist)(*tensors, 8.0)
    with pytest.raises(ValueError, match="must share one floating dtype and device, got torch"):
        unwrap(inf_dist_bounds)(tensors[0], tensors[0], tensors[1])


def test_tensors_on_two_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="must share one floating dtype and device"):
        norm_dist(torch.zeros(3, 5, device="meta"), torch.zeros(4, 5), 8.0)


def test_a_box_whose_ends_differ_in_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lower and upper differ in shape: \(3, 5\) and \(2, 5\)"):
        unwrap(inf_dist_bounds)(torch.zeros(3, 5), torch.zeros(2, 5), torch.zeros(4, 5))


def test_a_gradient_is_kept_only_where_one_is_wanted() -> None:
    x, weight = normal(3, 5).requires_grad_(), normal(4, 5)
    for p in (8.0, math.inf):
        assert norm_dist(x, weight, p).requires_grad
        assert not norm_dist(x.detach(), weight, p).requires_grad
        with torch.no_grad():
            assert not norm_dist(x, weight, p).requires_grad


def test_every_floating_dtype_keeps_its_own() -> None:
    for dtype in (torch.float32, torch.float64):
        x, weight = normal(3, 5).to(dtype), normal(4, 5).to(dtype)
        assert norm_dist(x, weight, 8.0).dtype == norm_dist(x, weight, math.inf).dtype == dtype
        assert inf_dist_bounds(x, x, weight)[0].dtype == dtype


class TestAutocast:
    """Where torch makes some tensors narrower and leaves others."""

    @pytest.mark.parametrize("p", [8.0, math.inf, torch.tensor(8.0)], ids=str)
    @pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
    def test_both_are_made_float32_and_each_gets_a_gradient_of_its_own_dtype(
        self, narrow: torch.dtype, p: float | Tensor
    ) -> None:
        x, weight = normal(3, 5).to(narrow), normal(4, 5)
        wide = [x.float().requires_grad_(), weight.clone().requires_grad_()]
        expected = norm_dist(*wide, p)
        expected.sum().backward()
        for given in ([x, weight], [x, weight.to(narrow)], [weight, x]):
            a, b = (tensor.clone().requires_grad_() for tensor in given)
            with torch.autocast("cpu", narrow):
                y = norm_dist(a, b, p)
                y.sum().backward()  # in there too, where its operator is another
            assert y.dtype == torch.float32
            assert (a.grad.dtype, b.grad.dtype) == (a.dtype, b.dtype)
            if given[1] is weight:
                assert torch.equal(y, expected)
                assert torch.equal(a.grad, wide[0].grad.to(narrow)) and torch.equal(b.grad, wide[1].grad)

    def test_bounds_are_in_float32_too(self) -> None:
        x, weight = normal(3, 5).bfloat16(), normal(4, 5)
        with torch.autocast("cpu", torch.bfloat16):
            bounds = inf_dist_bounds(x, x.float() + 1, weight)
        assert all(map(torch.equal, bounds, inf_dist_bounds(x.float(), x.float() + 1, weight)))

    def test_float64_is_left_alone_and_does_not_mix(self) -> None:
        x, weight = normal(3, 5).double(), normal(4, 5)
        with torch.autocast("cpu", torch.bfloat16):
            assert norm_dist(x, weight.double(), 8.0).dtype == torch.float64
            for pair in ((x, weight), (x, weight.bfloat16()), (weight, weight.long())):
                with pytest.raises(ValueError, match="must share one floating dtype and device"):
                    unwrap(norm_dist)(*pair, 8.0)

    def test_without_it_dtypes_must_agree(self) -> None:
        with pytest.raises(ValueError, match="must share one floating dtype and device"):
            norm_dist(normal(3, 5).bfloat16(), normal(4, 5), 8.0)
        with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
            with pytest.raises(ValueError, match="must share one floating dtype and device"):
                norm_dist(normal(3, 5).bfloat16(), normal(4, 5), 8.0)

    def test_a_gpu_has_it_as_well(self) -> None:
        before = torch.is_autocast_enabled("cuda")
        torch.set_autocast_enabled("cuda", True)  # torch.autocast would not where there is no GPU
        try:
            with FakeTensorMode():  # shapes and dtypes are all there is to see
                x, weight = (
                    torch.empty(3, 5, device="cuda", dtype=torch.float16),
                    torch.empty(4, 5, device="cuda"),
                )
                assert norm_dist(x, weight, 8.0).dtype == torch.float32
                assert inf_dist_bounds(x, x, weight)[0].dtype == torch.float32
        finally:
            torch.set_autocast_enabled("cuda", before)


def test_the_backend_has_a_name() -> None:
    assert re.fullmatch(r"reference|cpu-(avx512|avx2|sse4|portable)", backend_name())
    assert backend_name("meta") == "reference"


def test_the_device_and_the_dtype_decide() -> None:
    with FakeTensorMode():  # tensors without data, of devices that need not be here
        of = {
            (device, dtype): backend_for(torch.empty(2, 3, device=device, dtype=dtype))
            for device in ("cpu", "cuda", "meta")
            for dtype in (torch.float32, torch.float64)
        }
    assert of.pop(("cuda", torch.float32)) is cuda
    of.pop(("cpu", torch.float32))  # compiled or not: `backend_name` says which
    assert set(of.values()) == {reference}


def test_a_cpu_has_no_choice_of_kernels_to_tell_of() -> None:
    assert kernels_at(37.3, torch.device("cpu")) == ""


# A process of its own: what checks shapes and types here is more than torch.compile can trace.
COMPILED = """\
import math, sys, torch
from linftui.ops import norm_dist

def value_and_gradients(distance, p):
    a, b = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = distance(a, b, p)
    return y.detach(), *torch.autograd.grad(y.sum(), (a, b))

def counted(graph, inputs):
    graphs.append(graph)
    return torch._dynamo.lookup_backend(sys.argv[1])(graph, inputs)

x, weight, graphs = torch.randn(6, 5), torch.randn(4, 5), []
empty = torch.zeros(3, 0, requires_grad=True)
torch.compile(norm_dist)(empty, torch.zeros(2, 0), torch.tensor(math.inf)).sum().backward()
compiled = torch.compile(norm_dist, fullgraph=True, backend=counted)
for p in (1.0, 8.0, 12.5, 300.0, math.inf):
    got = value_and_gradients(compiled, torch.tensor(p))
    assert all(map(torch.equal, got, value_and_gradients(norm_dist, p))), p
assert len(graphs) == 1, len(graphs)
try:
    compiled(x, weight, torch.tensor(0.5))
    raise SystemExit("0.5 was taken")
except ValueError as error:
    assert "p must be >= 1" in str(error)
narrow = x.bfloat16()
with torch.autocast("cpu", torch.bfloat16):
    cast = torch.compile(norm_dist, fullgraph=True, backend=sys.argv[1])(narrow, weight, torch.tensor(8.0))
assert torch.equal(cast, norm_dist(narrow.float(), weight, 8.0))
for p in (8.0, 12.5, 37.3, math.inf):  # as a number it is part of the graph, which may be made anew
    assert torch.equal(compiled(x, weight, p), norm_dist(x, weight, p)), p
print("one graph")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_there_is_one_graph_for_every_p(backend: str) -> None:
    program = [sys.executable, "-c", COMPILED, backend]
    done = subprocess.run(program, capture_output=True, text=True, timeout=200)
    assert done.stdout == "one graph\n", done.stderr


@pytest.mark.parametrize("p", [8.0, math.inf])
def test_a_gradient_of_a_gradient_is_refused(p: float) -> None:
    x, weight = normal(3, 5).requires_grad_(), normal(4, 5)
    (gradient,) = torch.autograd.grad(norm_dist(x, weight, p).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        gradient.pow(2).sum().backward()


@pytest.mark.filterwarnings("ignore")  # torch.func's own
def test_forward_mode_is_refused() -> None:
    x, weight = normal(3, 5), normal(4, 5)
    with pytest.raises(NotImplementedError, match="no forward-mode derivatives"):
        torch.func.jvp(lambda a: norm_dist(a, weight, 8.0), (x,), (x,))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        with pytest.raises(NotImplementedError, match="no forward-mode derivatives"):
            norm_dist(dual, weight, math.inf)
        assert norm_dist(x, weight, math.inf).isfinite().all()


def test_bounds_have_no_gradient() -> None:
    x = normal(3, 5).requires_grad_()
    assert not any(end.requires_grad for end in inf_dist_bounds(x, x + 1, normal(4, 5)))
