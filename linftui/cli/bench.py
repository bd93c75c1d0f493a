"""`linftui bench`: measures linftui on this machine."""

import os
import platform
import re
import signal
import sys
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from linftui.cli.options import AsJson
from linftui.cli.render import aligned, print_json
from linftui.cores import usable_cores
from linftui.user_folders import leave_folder_that_is_gone

# Sizes for small machines, and those of the paper's net.
_SIZES = {"cpu": "128x1024x1024,64x5120x5120", "cuda": "512x5120x5120,512x5120x3072,512x10x5120"}

_MOST_ELEMENTS = 10**12  # each operation takes half a minute on a GPU, minutes on a CPU

app = typer.Typer(help="Measure linftui on this machine.", rich_markup_mode=None)


@app.callback()
def _family() -> None:
    leave_folder_that_is_gone()


@app.command()
def ops(
    sizes: Annotated[
        str | None,
        typer.Option(
            help="Rows of x, rows of weight, columns of both; separate several with commas.",
            show_default="; on a GPU: ".join(_SIZES.values()),
        ),
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device to measure: cpu or cuda.")] = "cpu",
    repeats: Annotated[int, typer.Option(min=1, help="How many measurements each median is of.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Measure every operation against torch.cdist, plain PyTorch and the machine's ceiling, in turn.

    On a GPU: against the limits of its units, torch.cdist and compiled PyTorch; and the training of the
    paper's net.
    """
    shapes = [_size(size) for size in (_SIZES[device] if sizes is None else sizes).split(",")]
    (_ops_on_gpu if device == "cuda" else _ops_on_cpu)(shapes, repeats, as_json)


def _ops_on_gpu(shapes: list[tuple[int, int, int]], repeats: int, as_json: bool) -> None:
    import torch

    from linftui.bench.cuda_ops import measure, table, this_gpu
    from linftui.ops import backend_name

    device = this_gpu()
    rows = list(measure(device, shapes, repeats, _say))
    machine = f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {backend_name(device)}"
    if as_json:
        print_json({"machine": machine, "repeats": repeats, "rows": [asdict(row) for row in rows]})
        return
    print(machine)
    print(table(rows))


def _ops_on_cpu(shapes: list[tuple[int, int, int]], repeats: int, as_json: bool) -> None:
    from linftui.launch.environment import with_huge_pages

    as_a_run = with_huge_pages(os.environ)
    if as_a_run != os.environ:  # the C library reads this only when a process starts
        os.execve(sys.executable, [sys.executable, "-P", "-m", "linftui", *sys.argv[1:]], as_a_run)
    import torch

    from linftui.bench.ops import measure
    from linftui.ops import backend_name

    # torch also counts cores that a cgroup quota takes away.
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    figures = measure(shapes, repeats, _say)
    machine = f"{_machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, {backend_name()}"
    if as_json:
        print_json(
            {"machine": machine, "repeats": repeats, "figures": [asdict(figure) for figure in figures]}
        )
        return
    rows = [["SIZE", "OPERATION", "MS", "G ELEMENTS/S", "OF CEILING", "X CDIST", "X REFERENCE"]]
    rows += [
        [
            figure.size,
            figure.op or "ceiling",
            f"{1000 * figure.seconds:.2f}",
            f"{figure.elements_per_s / 1e9:.2f}",
            "-" if figure.ceiling is None else f"{figure.ceiling:.0%}",
            "-" if figure.cdist is None else f"{figure.cdist:.1f}",
            "-" if figure.reference is None else f"{figure.reference:.1f}",
        ]
        for figure in figures
    ]
    print(machine)
    print(aligned(rows))


def _say(text: str) -> None:
    print(f"{text} ...", file=sys.stderr)


def _machine() -> str:
    return f"{usable_cores()} cores, {platform.machine()}, Python {platform.python_version()}"


def _size(text: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,6})x([1-9][0-9]{0,6})x([1-9][0-9]{0,6})", text.strip())
    if not found:
        raise typer.BadParameter(f"a size is like 128x1024x1024, got {text!r}", param_hint="--sizes")
    n, m, k = (int(part) for part in found.groups())
    if n * m * k > _MOST_ELEMENTS:
        raise typer.BadParameter(f"{text} has more than {_MOST_ELEMENTS:.0e} elements", param_hint="--sizes")
    return n, m, k


@app.command()
def dashboard(
    repeats: Annotated[int, typer.Option(min=1, help="How many measurements each median is of.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Measure the dashboard in a terminal of 160 x 45: first paint, redraw, idle and live traffic."""
    from linftui.bench.dashboard import measure

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that cleanup removes its thousand runs
    figures = measure(repeats, _say)
    machine = _machine()
    if as_json:
        print_json(
            {"machine": machine, "repeats": repeats, "figures": [asdict(figure) for figure in figures]}
        )
        return
    rows = [["FIGURE", "MEASURED", "TARGET", "UNIT"]]
    rows += [
        [
            figure.name,
            f"{figure.value:.3g}",
            "-" if figure.target is None else f"{figure.target:g}",
            figure.unit,
        ]
        for figure in figures
    ]
    print(machine)
    print(aligned(rows))
