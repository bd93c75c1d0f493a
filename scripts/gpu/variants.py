"""What linftui did not choose, at the size of the paper: dense or pruned, other splits of the long axis."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from rows import arguments, conclude, gpu, tell

from linftui.ops import cuda
from linftui.ops.cuda import backward, forward

SIZE = (512, 5120, 5120)
POWERS = [8.0, 12.0, 25.0, 37.3, 50.0, 100.0, 300.0, 1000.0]
SPLITS = [None, 1, 2, 3, 4, 6, 8]  # None: as linftui chooses
WORTH_TELLING = 0.95  # of the time of what was chosen
REPEATS = 5


@contextmanager
def split_into(parts: int | None) -> Iterator[None]:
    """Has every pass split its long axis into so many parts."""
    chosen = forward.splits, backward.splits
    if parts is not None:
        forward.splits = backward.splits = lambda *_: parts  # type: ignore[assignment]
    try:
        yield
    finally:
        forward.splits, backward.splits = chosen


def main() -> None:
    options = arguments(__doc__).parse_args()
    device = gpu(options.rehearse)
    better = list[str]()
    for operation, works in operations(device):
        times = {}
        for method, work in works.items():
            for parts in SPLITS:
                with split_into(parts):
                    times[method, parts] = time = seconds(work)
                tell(operation, method=method, splits=parts, seconds=time)
        chosen = times["chosen", None]
        (method, parts), best = min(times.items(), key=lambda item: item[1])
        if best < WORTH_TELLING * chosen:
            better.append(f"{operation}: {method} in {parts or 'its own'} splits takes {best / chosen:.0%}")
        conclude("; ".join(better) or f"nothing beats what was chosen, up to {operation}")


def operations(device: torch.device) -> Iterator[tuple[str, dict[str, Callable[[], object]]]]:
    """Each operation, with the ways to compute it."""
    n, m, k = SIZE
    generator = torch.Generator(device).manual_seed(0)
    shapes = ((n, k), (m, k), (n, m))
    x, weight, grad = (torch.randn(shape, device=device, generator=generator) for shape in shapes)
    grad = grad / n
    yield "inf forward", {"chosen": partial(cuda.norm_dist_forward, x, weight, math.inf)}
    yield "inf forward + argmax", {"chosen": partial(cuda.inf_dist_argmax, x, weight)}
    yield "bounds", {"chosen": partial(forward.inf_dist_bounds, x - 1, x + 1, weight, True)}
    for p in POWERS:
        y = cuda.norm_dist_forward(x, weight, p)
        methods = [None] if p == 8 else [None, "dense", "pruned"]
        yield (
            f"p = {p:g} forward",
            {method or "chosen": partial(cuda.norm_dist_forward, x, weight, p, method) for method in methods},
        )
        yield (
            f"p = {p:g} backward",
            {
                method or "chosen": partial(cuda.norm_dist_backward, grad, x, weight, y, p, method)
                for method in methods
            },
        )


def seconds(work: Callable[[], object]) -> float:
    """The shortest of a few times: what is compared differs by more than the noise above it."""
    work()
    times = []
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return min(times)


if __name__ == "__main__":
    main()
