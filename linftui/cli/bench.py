"""`linftui bench`: how fast linftui is on this machine."""

import os
import platform
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from linftui.cli.options import AsJson
from linftui.cli.render import columns, print_json

app = typer.Typer(help="Measure linftui on this machine.", rich_markup_mode=None)


@app.callback()
def _family() -> None:
    pass  # keeps `dashboard` a subcommand while it is the only one


@app.command()
def dashboard(
    repeats: Annotated[int, typer.Option(min=1, help="Medians are of so many.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Measure the dashboard in a terminal of 160 x 45: first paint, redraw, idle and live traffic."""
    from linftui.bench.dashboard import measure

    figures = measure(repeats, lambda text: print(f"{text} ...", file=sys.stderr))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
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
    print(columns(rows))
