"""The distance core on a GPU against its limits: operations, the paper's net, its schedule.

Limits are measured in the same run as the operations, since a card's clock depends on the card, its cooling
and the load. Times are medians, measured with device events.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from linftui.bench.rivals import CDIST, Rival, compiled_broadcast
from linftui.errors import DeviceError
from linftui.ops import cuda
from linftui.ops.cuda.catalogue import Kernel
from linftui.ops.cuda.forward import inf_dist_bounds
from linftui.ops.cuda.launcher import launcher_of

BATCH = 512
LAYERS = [(5120, 3072), *[(5120, 5120)] * 4, (10, 5120)]  # [M, K] of the paper's net
POWERS = [8.0, 8.5, 12.0, 25.0, 37.3, 50.0, 100.0, 300.0, 1000.0]
EPOCHS, STEPS_AN_EPOCH, RAMP = 1300, 98, (100, 1250)
_CHAINS, _ROUNDS = 16, 20_000
_SOURCE = str(Path(__file__).parent / "kernels" / "limits.cu")
LIMITS = {  # the most that a unit can do: its kernel, and the elements per instruction
    "FADD + FMNMX": (Kernel(_SOURCE, "limit_fold"), 1),
    "HADD2 + HMNMX2": (Kernel(_SOURCE, "limit_half"), 2),
    "LG2 + EX2": (Kernel(_SOURCE, "limit_special"), 1),
    "issue (FFMA)": (Kernel(_SOURCE, "limit_issue"), 1),
}


@dataclass(frozen=True)
class Row:
    """One measurement: seconds, elements per second, and the share of a limit in elements per second."""

    name: str
    seconds: float
    rate: float = 0.0
    limit: str = ""
    share: float | None = None


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of `work` on the current stream, after two runs that compile and warm up."""
    for _ in range(2):
        work()
    times: list[float] = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(1_000_000)  # meanwhile the host prepares the first launch, which must not count
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return statistics.median(times)


def this_gpu() -> torch.device:
    """The current GPU.

    Raises:
        DeviceError: torch sees none.
    """
    if not torch.cuda.is_available():
        raise DeviceError(f"torch {torch.__version__} sees no GPU", "measure the CPU: --device cpu")
    return torch.device("cuda", torch.cuda.current_device())


def measure(
    device: torch.device,
    sizes: list[tuple[int, int, int]],
    repeats: int,
    say: Callable[[str], None],
    rivals: Sequence[Rival] = (),
) -> Iterator[Row]:
    """Everything, on one GPU, row by row; `say` is called with what is being measured.

    The most valuable figures come first, since the user may have to stop before the end.
    """
    say("limits")
    limits = measure_limits(device, repeats)
    yield from limits.values()
    rates = {name: row.rate for name, row in limits.items()}
    for size in sizes:
        say("operations at {} x {} x {}".format(*size))
        yield from measure_operations(device, size, repeats, rates)
    say("the paper's net")
    net = {}
    for p in (*POWERS, math.inf):
        net[p] = measure_net(device, p, repeats)
        yield Row(f"net, forward + backward, p = {p:g}", net[p])
    yield Row(f"{EPOCHS} epochs of it", schedule_seconds(net))
    for rival in (*rivals, CDIST, compiled_broadcast()):
        for size in sizes:
            say("{} at {} x {} x {}".format(rival.name, *size))
            yield from measure_rival(device, size, repeats, rates, rival)


def measure_limits(device: torch.device, repeats: int) -> dict[str, Row]:
    """Elements per second of each unit alone; for the copy, bytes per second (read and written)."""
    launcher = launcher_of(device)
    blocks = launcher.multiprocessors * 4
    numbers, out = torch.rand(512, device=device), torch.empty(blocks * 256, device=device)
    rows = {}
    for name, (kernel, elements) in LIMITS.items():

        def work(kernel: Kernel = kernel) -> None:
            launcher(kernel, (blocks, 1, 1), numbers, out, _ROUNDS)

        time = seconds(work, repeats)
        rows[name] = Row(f"limit: {name}", time, elements * blocks * 256 * _CHAINS * _ROUNDS / time)
    data = torch.randn(2**28, device=device)
    target = torch.empty_like(data)
    time = seconds(lambda: target.copy_(data), repeats)
    rows["copy"] = Row("limit: copy (bytes/s)", time, 2 * data.nbytes / time)
    return rows


def _limit(p: float, limits: dict[str, float], backward: bool = False) -> tuple[str, float]:
    """The limit of an operation at this p, and its elements per second."""
    if math.isinf(p):
        return "FADD + FMNMX", limits["FADD + FMNMX"]
    if p == 8:
        slots = 7 if backward else 4
        return f"issue (FFMA)/{slots}", limits["issue (FFMA)"] / slots
    return "dense LG2 + EX2", limits["LG2 + EX2"]


def _limit_of_both(p: float, limits: dict[str, float]) -> tuple[str, float]:
    """The limit of a forward and its backward; at p = inf the backward only scatters, and does not count."""
    (name, forward), (other, backward) = _limit(p, limits), _limit(p, limits, backward=True)
    if math.isinf(p):
        return name, forward
    return name if name == other else f"{name}, {other}", 1 / (1 / forward + 1 / backward)


class _Timer:
    """Rows of operations at one size, with their limits."""

    def __init__(self, size: tuple[int, int, int], repeats: int) -> None:
        self.elements, self.repeats = math.prod(size), repeats
        self.where = "[{} x {} x {}]".format(*size)

    def __call__(self, name: str, work: Callable[[], object], limit: tuple[str, float]) -> Row:
        return self.row(name, seconds(work, self.repeats), limit)

    def row(self, name: str, time: float, limit: tuple[str, float]) -> Row:
        rate = self.elements / time
        return Row(f"{name} {self.where}", time, rate, limit[0], rate / limit[1])


def _problem(device: torch.device, size: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """x, weight and a gradient of the size that the mean over a batch gives."""
    n, m, k = size
    generator = torch.Generator(device).manual_seed(0)
    x, weight, grad = (
        torch.randn(shape, device=device, generator=generator) for shape in ((n, k), (m, k), (n, m))
    )
    return x, weight, grad / n


def measure_operations(
    device: torch.device, size: tuple[int, int, int], repeats: int, limits: dict[str, float]
) -> Iterator[Row]:
    """Every operation at one size (N, M, K), with its limit."""
    x, weight, grad = _problem(device, size)
    timer, inf = _Timer(size, repeats), math.inf
    fold = _limit(inf, limits)
    yield timer("inf forward", lambda: cuda.norm_dist_forward(x, weight, inf), fold)
    _, argmax = cuda.inf_dist_argmax(x, weight)
    parts = [
        timer("inf forward + argmax", lambda: cuda.inf_dist_argmax(x, weight), fold),
        timer("inf backward", lambda: cuda.inf_dist_backward(grad, x, weight, argmax), fold),
    ]
    yield from parts
    yield timer.row(
        "inf forward + backward", sum(part.seconds for part in parts), _limit_of_both(inf, limits)
    )
    bounds = "4 FMNMX", fold[1] / 4
    yield timer("bounds", lambda: inf_dist_bounds(x - 1, x + 1, weight, True), bounds)
    for p in POWERS:
        yield from _finite(p, x, weight, grad, timer, limits)


def _finite(
    p: float, x: Tensor, weight: Tensor, grad: Tensor, timer: _Timer, limits: dict[str, float]
) -> list[Row]:
    y = cuda.norm_dist_forward(x, weight, p)
    forward = timer(f"p = {p:g} forward", lambda: cuda.norm_dist_forward(x, weight, p), _limit(p, limits))
    backward = timer(
        f"p = {p:g} backward",
        lambda: cuda.norm_dist_backward(grad, x, weight, y, p),
        _limit(p, limits, backward=True),
    )
    time = forward.seconds + backward.seconds
    return [forward, backward, timer.row(f"p = {p:g} forward + backward", time, _limit_of_both(p, limits))]


def measure_rival(
    device: torch.device, size: tuple[int, int, int], repeats: int, limits: dict[str, float], rival: Rival
) -> Iterator[Row]:
    """A rival at one size, with the limits of our operations."""
    x, weight, grad = _problem(device, size)
    timer = _Timer(size, repeats)
    for p in rival.powers or (*POWERS, math.inf):
        name = f"{rival.name}, p = {p:g}"
        forward = timer(f"{name} forward", partial(rival.forward, x, weight, p), _limit(p, limits))
        yield forward
        if rival.backward is None:
            continue
        y = rival.forward(x, weight, p)
        backward = timer(
            f"{name} backward",
            partial(rival.backward, grad, x, weight, y, p),
            _limit(p, limits, backward=True),
        )
        yield backward
        time = forward.seconds + backward.seconds
        yield timer.row(f"{name} forward + backward", time, _limit_of_both(p, limits))


def measure_net(device: torch.device, p: float, repeats: int) -> float:
    """Seconds of the distance operations of one training step: six layers, forward and backward."""
    generator = torch.Generator(device).manual_seed(0)
    weights = [torch.randn(m, k, device=device, generator=generator) for m, k in LAYERS]
    x = torch.randn(BATCH, LAYERS[0][1], device=device, generator=generator)

    ps = (p * (1 + 1e-5 * turn) if p > 8 else p for turn in itertools.count())

    def step() -> None:
        p = next(ps)  # slightly different every time, as in training
        inputs, outputs, places, h = [], [], [], x
        for weight in weights:
            inputs.append(h)
            if math.isinf(p):
                y, place = cuda.inf_dist_argmax(h, weight)
                places.append(place)
            else:
                y = cuda.norm_dist_forward(h, weight, p)
            outputs.append(y)
            h = y - y.mean(0)
        grad = torch.full_like(h, 1 / BATCH)
        for i in reversed(range(len(weights))):
            if math.isinf(p):
                grad = cuda.inf_dist_backward(grad, inputs[i], weights[i], places[i])[0]
            else:
                grad = cuda.norm_dist_backward(grad, inputs[i], weights[i], outputs[i], p)[0]

    return seconds(step, repeats)


def schedule_seconds(net: dict[float, float]) -> float:
    """The whole schedule: p = 8 before the ramp, p growing geometrically along it, infinite after it.

    Between measured p the time of a step is interpolated in log p; on the ramp p is never a whole number, so
    the fast whole power 8 counts only before it.
    """
    ramp = sorted(p for p in net if 8 < p < math.inf)
    first, last = ramp[0], ramp[-1]
    total = RAMP[0] * net[8.0] + (EPOCHS - RAMP[1]) * net[math.inf]
    length = RAMP[1] - RAMP[0]
    total += length * math.log(first / 8) / math.log(last / 8) * net[first]
    for low, high in zip(ramp, ramp[1:], strict=False):
        share = math.log(high / low) / math.log(last / 8)
        total += length * share * (net[low] + net[high]) / 2
    return total * STEPS_AN_EPOCH


def table(rows: list[Row]) -> str:
    """For people: milliseconds, 1e12 elements per second, share of the limit."""
    lines = [f"{'':<44} {'ms':>10} {'Tel/s':>8} {'of limit':>9}"]
    for row in rows:
        rate = f"{row.rate / 1e12:.3f}" if row.rate else ""
        share = f"{row.share:.0%}" if row.share is not None else ""
        lines.append(f"{row.name:<44} {row.seconds * 1e3:>10.3f} {rate:>8} {share:>9}  {row.limit}".rstrip())
    return "\n".join(lines)
