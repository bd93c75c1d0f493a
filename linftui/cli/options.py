"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from linftui.cli import completion
from linftui.user_folders import from_home

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A YAML file, or a name such as digits.", autocompletion=completion.recipes
    ),
]
RecipeNames = Annotated[
    list[str],
    typer.Argument(
        metavar="RECIPE...", help="YAML files, or names such as digits.", autocompletion=completion.recipes
    ),
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's id, the beginning of one, or its path.", autocompletion=completion.runs
    ),
]
RunNames = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...", help="Ids of runs, beginnings of ids, or paths.", autocompletion=completion.runs
    ),
]
WholeRunNames = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Full ids of runs, or paths.", autocompletion=completion.runs),
]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override a recipe's value; repeatable.",
        autocompletion=completion.fields,
    ),
]
RunsDir = Annotated[
    Path,
    typer.Option(
        "--runs-dir", envvar="LINFTUI_RUNS_DIR", parser=from_home, help="The folder of run directories."
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--devices", help="auto | cpu | cpu:N | gpu:N | 0,3 | UUID,...", autocompletion=completion.devices
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        help="Threads of each rank; default: its share of the cores, or fewer.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
