"""The distance core on a GPU beside its limits: operations, the paper's net, its schedule.

Limits are measured in the same run as the operations, since a card's clock depends on the card, its cooling
and the load. Times are medians by device events.
"""

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

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


@dataclass(frozen=True)
class Row:
    """One measurement: seconds, elements a second, and the share of a limit in elements a second."""

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
        torch.cuda._sleep(1_000_000)  # meanwhile the first launch is prepared, which is not the device's work
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
    device: torch.device, sizes: list[tuple[int, int, int]], repeats: int, say: Callable[[str], None]
) -> list[Row]:
    """Everything, on one GPU; `say` is told what is being done."""
    say("limits")
    limits = measure_limits(device, repeats)
    rows = list(limits.values())
    for size in sizes:
        say("operations at {} x {} x {}".format(*size))
        rows += measure_operations(device, size, repeats, {name: row.rate for name, row in limits.items()})
    say("the paper's net")
    net = {p: measure_net(device, p, repeats) for p in (*POWERS, math.inf)}
    rows += [Row(f"net, forward + backward, p = {p:g}", time) for p, time in net.items()]
    rows.append(Row(f"{EPOCHS} epochs of it", schedule_seconds(net)))
    return rows


def measure_limits(device: torch.device, repeats: int) -> dict[str, Row]:
    """Elements a second of the units alone; of the copy, bytes a second (read and written)."""
    launcher = launcher_of(device)
    blocks = launcher.multiprocessors * 4
    numbers, out = torch.rand(512, device=device), torch.empty(blocks * 256, device=device)
    rows = {}
    for name, entry, elements in (
        ("FADD + FMNMX", "limit_fold", 1),
        ("HADD2 + HMNMX2", "limit_half", 2),
        ("LG2 + EX2", "limit_special", 1),
        ("issue (FFMA)", "limit_issue", 1),
    ):
        kernel = Kernel(str(Path(__file__).parent / "kernels" / "limits.cu"), entry)

        def work(kernel: Kernel = kernel) -> None:
            launcher(kernel, (blocks, 1, 1), numbers, out, _ROUNDS)

        time = seconds(work, repeats)
        rows[name] = Row(f"limit: {name}", time, elements * blocks * 256 * _CHAINS * _ROUNDS / time)
    data = torch.randn(2**28, device=device)
    target = torch.empty_like(data)
    time = seconds(lambda: target.copy_(data), repeats)
    rows["copy"] = Row("limit: copy (bytes/s)", time, 2 * data.nbytes / time)
    return rows


def measure_operations(
    device: torch.device, size: tuple[int, int, int], repeats: int, limits: dict[str, float]
) -> list[Row]:
    """Every operation at one size (N, M, K), beside its limit."""
    n, m, k = size
    generator = torch.Generator(device).manual_seed(0)
    x, weight, grad = (
        torch.randn(shape, device=device, generator=generator) for shape in ((n, k), (m, k), (n, m))
    )
    elements = n * m * k
    fold, special, issue = (limits[name] for name in ("FADD + FMNMX", "LG2 + EX2", "issue (FFMA)"))

    def row(name: str, work: Callable[[], object], limit: str, rate: float) -> Row:
        time = seconds(work, repeats)
        return Row(f"{name} [{n} x {m} x {k}]", time, elements / time, limit, elements / time / rate)

    y, argmax = cuda.inf_dist_argmax(x, weight)
    inf = math.inf
    rows = [
        row("inf forward", lambda: cuda.norm_dist_forward(x, weight, inf), "FADD + FMNMX", fold),
        row("inf forward + argmax", lambda: cuda.inf_dist_argmax(x, weight), "FADD + FMNMX", fold),
        row("inf backward", lambda: cuda.inf_dist_backward(grad, x, weight, argmax), "FADD + FMNMX", fold),
        row("bounds", lambda: inf_dist_bounds(x - 1, x + 1, weight, True), "4 FMNMX", fold / 4),
    ]
    for p in POWERS:
        rows += _finite(p, x, weight, grad, row, special, issue)
    rows += [
        row("torch.cdist, p = 8", lambda: torch.cdist(x, weight, 8.0), "issue (FFMA)/4", issue / 4),
        row("torch.cdist, p = 37.3", lambda: torch.cdist(x, weight, 37.3), "LG2 + EX2", special),
        row("torch.cdist, p = inf", lambda: torch.cdist(x, weight, inf), "FADD + FMNMX", fold),
    ]
    return rows


def _finite(
    p: float, x: Tensor, weight: Tensor, grad: Tensor, row: Callable[..., Row], special: float, issue: float
) -> list[Row]:
    y = cuda.norm_dist_forward(x, weight, p)
    grad = grad / grad.shape[0]  # as the mean over a batch makes it
    whole = p == 8
    name = "issue (FFMA)/{}" if whole else "dense LG2 + EX2"
    return [
        row(
            f"p = {p:g} forward",
            lambda: cuda.norm_dist_forward(x, weight, p),
            name.format(4),
            issue / 4 if whole else special,
        ),
        row(
            f"p = {p:g} backward",
            lambda: cuda.norm_dist_backward(grad, x, weight, y, p),
            name.format(7),
            issue / 7 if whole else special,
        ),
    ]


def measure_net(device: torch.device, p: float, repeats: int) -> float:
    """Seconds of the distance operations of one training step: six layers, forward and backward."""
    generator = torch.Generator(device).manual_seed(0)
    weights = [torch.randn(m, k, device=device, generator=generator) for m, k in LAYERS]
    x = torch.randn(BATCH, LAYERS[0][1], device=device, generator=generator)

    ps = (p * (1 + 1e-5 * turn) if p > 8 else p for turn in itertools.count())

    def step() -> None:
        p = next(ps)  # a little different every time, as while a net trains
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
    """For people: milliseconds, 1e12 elements a second, share of the limit."""
    lines = [f"{'':<44} {'ms':>10} {'Tel/s':>8} {'of limit':>9}"]
    for row in rows:
        rate = f"{row.rate / 1e12:.3f}" if row.rate else ""
        share = f"{row.share:.0%}" if row.share is not None else ""
        lines.append(f"{row.name:<44} {row.seconds * 1e3:>10.3f} {rate:>8} {share:>9}  {row.limit}".rstrip())
    return "\n".join(lines)
