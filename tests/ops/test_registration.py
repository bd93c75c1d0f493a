"""The operators as torch sees them, and what the public functions in front of them refuse."""

import math
import re
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
