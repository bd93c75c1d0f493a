"""The distance core as torch operators, and the public functions in front of them.

Each operator has a fake (shapes without data, so that torch.compile and friends can trace through it) and
a gradient, and under torch.autocast all compute in float32. Inputs are checked here, once, with errors in
sentences; the backends trust the shapes.

Operators are declared with `torch.library.define` rather than `custom_op`: the latter's wrapper imports
torch._dynamo at the first call, and every command would wait 1.4 s for it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from linftui.ops.backends import backend_for

_OPERATORS = torch.ops.linftui


def _register(
    schema: str,
    implementation: Callable[..., Any],
    fake: Callable[..., Any],
    gradient: Callable[..., Any] | None = None,
    keep: Callable[..., None] | None = None,
) -> None:
    """Declares an operator.

    Args:
        schema: its name and types.
        implementation: the function that computes it, by the backend for its tensors.
        fake: the shapes of its result, without data.
        gradient: maps the saved context and the gradients of the outputs to those of the inputs.
        keep: saves what `gradient` needs.
    """
    name, types = schema[: schema.index("(")], schema[schema.index("(") :]
    torch.library.define(f"linftui::{name}", types)
    torch.library.impl(f"linftui::{name}", "default", implementation)
    torch.library.register_fake(f"linftui::{name}", fake)
    if gradient is not None:
        torch.library.register_autograd(f"linftui::{name}", gradient, setup_context=keep)


def _no_second_gradient(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError("the distance has first derivatives only")


# The distance at a p that is a number.


def _distance_shapes(x: Tensor, weight: Tensor, p: float | Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


def _keep_for_norm(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output)
    ctx.p = inputs[2]


def _norm_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    x, weight, y = ctx.saved_tensors
    return *_OPERATORS.norm_dist_backward(grad, x, weight, y, ctx.p), None


def _gradient_shapes(grad: Tensor, x: Tensor, weight: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


_register(
    "norm_dist(Tensor x, Tensor weight, float p) -> Tensor",
    lambda x, weight, p: backend_for(x).norm_dist_forward(x, weight, p),
    _distance_shapes,
    _norm_gradient,
    _keep_for_norm,
)
_register(
    "norm_dist_backward(Tensor grad, Tensor x, Tensor weight, Tensor y, float p) -> (Tensor, Tensor)",
    lambda grad, x, weight, y, p: backend_for(x).norm_dist_backward(grad, x, weight, y, p),
    _gradient_shapes,
    _no_second_gradient,
)


# At a p that is a tensor, read when the operator runs: for torch.compile, whose graph then serves every p.


def _norm_dist_at(x: Tensor, weight: Tensor, p: Tensor) -> Tensor:
    return backend_for(x).norm_dist_forward(x, weight, _checked(float(p)))


def _keep_for_norm_at(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2], output, inputs[2])


def _norm_at_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_OPERATORS.norm_dist_at_backward(grad, *ctx.saved_tensors), None


def _norm_dist_at_backward(
    grad: Tensor, x: Tensor, weight: Tensor, y: Tensor, p: Tensor
) -> tuple[Tensor, Tensor]:
    backend, number = backend_for(x), float(p)
    if number < math.inf or x.shape[1] == 0:
        return backend.norm_dist_backward(grad, x, weight, y, number)
    return backend.inf_dist_backward(grad, x, weight, backend.inf_dist_argmax(x, weight)[1])


_register(
    "norm_dist_at(Tensor x, Tensor weight, Tensor p) -> Tensor",
    _norm_dist_at,
    _distance_shapes,
    _norm_at_gradient,
    _keep_for_norm_at,
)
_register(
    "norm_dist_at_backward(Tensor grad, Tensor x, Tensor weight, Tensor y, Tensor p) -> (Tensor, Tensor)",
    _norm_dist_at_backward,
    _gradient_shapes,
    _no_second_gradient,
)


# At p = inf with the coordinate that attains the maximum, which takes the gradient.


def _argmax_shapes(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    shape = (x.shape[0], weight.shape[0])
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)


def _keep_for_inf(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])


def _inf_gradient(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, Tensor]:
    x, weight, argmax = ctx.saved_tensors
    gradients: tuple[Tensor, Tensor] = _OPERATORS.inf_dist_backward(grad, x, weight, argmax)
    return gradients


_register(
    "inf_dist_argmax(Tensor x, Tensor weight) -> (Tensor, Tensor)",
    lambda x, weight: backend_for(x).inf_dist_argmax(x, weight),
    _argmax_shapes,
    _inf_gradient,
    _keep_for_inf,
)
_register(
    "inf_dist_backward(Tensor grad, Tensor x, Tensor weight, Tensor argmax) -> (Tensor, Tensor)",
    lambda grad, x, weight, argmax: backend_for(x).inf_dist_backward(grad, x, weight, argmax),
    _gradient_shapes,
    _no_second_gradient,
)


# Bounds over boxes at p = inf, without gradient.


def _bounds_shapes(lower: Tensor, upper: Tensor, weight: Tensor, outward: bool) -> tuple[Tensor, Tensor]:
    shape = (lower.shape[0], weight.shape[0])
    return lower.new_empty(shape), lower.new_empty(shape)


_register(
    "inf_dist_bounds(Tensor lower, Tensor upper, Tensor weight, bool outward) -> (Tensor, Tensor)",
    lambda lower, upper, weight, out: backend_for(lower).inf_dist_bounds(lower, upper, weight, out),
    _bounds_shapes,
)


def norm_dist(
    x: Float[Tensor, "n k"], weight: Float[Tensor, "m k"], p: float | Float[Tensor, ""]
) -> Float[Tensor, "n m"]:
    """The distance of every row of x to every row of weight: y[n, m] = ||x_n - w_m||_p.

    Args:
        x: inputs, [N, K], any floating dtype.
        weight: centres, [M, K], of x's dtype and device. Under torch.autocast the two dtypes may differ, and
            both are cast to float32; float64 stays as it is.
        p: >= 1 or infinite, as a number or a 0-d tensor; it has no gradient. Under torch.compile a tensor
            is read when the graph runs, so that one graph serves every p.

    Returns:
        [N, M], differentiable in x and weight. The gradient is exactly 0 where y is 0 or infinite; at
        p = inf the first coordinate that attains the maximum takes all of it. A NaN in a row of x or
        weight makes that row's outputs NaN.

    Raises:
        ValueError: shapes, dtypes or devices do not match, or p is NaN or < 1.
        NotImplementedError: a gradient of a gradient, or a forward-mode derivative, is asked for.

    Source: Zhang et al., "Towards Certifying l-infinity Robustness using Neural Networks with
    l-inf-dist Neurons", ICML 2021; normalised by the largest difference so that no p overflows.
    """
    x, weight = _as_autocast_wants(x, weight)
    _check("x", x, weight)
    _refuse_tangents(x, weight)
    if isinstance(p, Tensor) and torch.compiler.is_compiling():
        at: Tensor = _OPERATORS.norm_dist_at(x, weight, p.detach())
        return at
    p = _checked(float(p))
    needs_gradient = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if p == math.inf and needs_gradient and x.shape[1] > 0:
        y: Tensor = _OPERATORS.inf_dist_argmax(x, weight)[0]
        return y
    out: Tensor = _OPERATORS.norm_dist(x, weight, p)
    return out


def inf_dist_bounds(
    lower: Float[Tensor, "n k"],
    upper: Float[Tensor, "n k"],
    weight: Float[Tensor, "m k"],
    *,
    outward: bool = True,
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """Bounds of `norm_dist(., weight, inf)` over the boxes lower_n <= x <= upper_n.

    Args:
        lower, upper: ends of one box per row, [N, K].
        weight: centres, [M, K].
        outward: also move each end one ulp outward, so that exact arithmetic is enclosed as well as the
            executed float operations. Certificates need it.

    Returns:
        Lower and upper bounds, [N, M] each; no gradient.

    Raises:
        ValueError: shapes, dtypes or devices do not match.
    """
    lower, upper, weight = _as_autocast_wants(lower, upper, weight)
    _check("lower", lower, weight)
    _check("upper", upper, weight)
    if lower.shape != upper.shape:
        raise ValueError(f"lower and upper differ in shape: {tuple(lower.shape)} and {tuple(upper.shape)}")
    with torch.no_grad():
        bounds: tuple[Tensor, Tensor] = _OPERATORS.inf_dist_bounds(lower, upper, weight, outward)
    return bounds


_AUTOCAST_DEVICES = ("cpu", "cuda")


def _refuse_tangents(*tensors: Tensor) -> None:
    """Refuses forward mode: torch would take the missing derivatives of an operator for 0."""
    if forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        raise NotImplementedError("the distance has no forward-mode derivatives; use reverse mode")


def _checked(p: float) -> float:
    if not p >= 1:
        raise ValueError(f"p must be >= 1 or infinite, got {p}")
    return p


def _check(name: str, x: Tensor, weight: Tensor) -> None:
    if x.dim() != 2 or weight.dim() != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"{name} must be [N, K] and weight [M, K] with the same K, "
            f"got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    if x.dtype != weight.dtype or not x.is_floating_point() or x.device != weight.device:
        raise ValueError(
            f"{name} and weight must share one floating dtype and device, "
            f"got {x.dtype} on {x.device} and {weight.dtype} on {weight.device}"
        )


def _as_autocast_wants(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in float32 under torch.autocast, except float64 ones.

    They are cast here, where a compiler sees it: if an operator cast inside, torch 2.11 would round its
    result to the inputs' type.
    """
    device = tensors[0].device.type
    if device not in _AUTOCAST_DEVICES or not torch.is_autocast_enabled(device):
        return tensors
    return tuple(t.float() if t.is_floating_point() and t.dtype != torch.float64 else t for t in tensors)
