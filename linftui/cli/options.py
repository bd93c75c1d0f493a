"""Options that several commands share, and the completion of names.

A name that is offered becomes a part of what the shell reads: zsh evaluates the whole list at once, bash puts
the name into the line as it is. So only plain names are offered, whatever else lies in a folder.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from linftui.user_folders import from_home

_PLAIN = re.compile(r"[A-Za-z0-9._/][A-Za-z0-9._/-]*")


def _offered(names: Iterable[str], beginning: str) -> list[str]:
    return sorted(name for name in set(names) if name.startswith(beginning) and _PLAIN.fullmatch(name))


def _recipe_names(incomplete: str) -> list[str]:
    from linftui.recipe.load import recipe_folders

    names = (path.stem for folder in recipe_folders() for path in folder.glob("*.yaml"))
    return _offered([*names, *_recipe_files(incomplete)], incomplete)


def _recipe_files(incomplete: str) -> Iterator[str]:
    """The recipes, and the folders they may lie in, of the folder that the path so far leads to."""
    folder, beginning = os.path.split(incomplete)
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            hidden = entry.name.startswith(".") and not beginning
            if not hidden and (entry.name.endswith(".yaml") or entry.is_dir()):
                yield os.path.join(folder, entry.name)


def _run_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    from linftui.rundir.store import RunStore

    store = RunStore(Path(ctx.params.get("runs_dir") or "runs"))
    return _offered((run.id for run in store.runs()), incomplete)


RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A YAML file, or a name such as digits.", autocompletion=_recipe_names
    ),
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's id, the beginning of one, or its path.", autocompletion=_run_ids
    ),
]
RunNames = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...", help="Ids of runs, beginnings of ids, or paths.", autocompletion=_run_ids
    ),
]
WholeRunNames = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Whole ids of runs, or paths.", autocompletion=_run_ids),
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Override a recipe's value; repeatable.")
]
RunsDir = Annotated[
    Path,
    typer.Option(
        "--runs-dir", envvar="LINFTUI_RUNS_DIR", parser=from_home, help="The folder of run directories."
    ),
]
Devices = Annotated[str, typer.Option("--devices", help="auto | cpu | cpu:N | gpu:N | 0,3 | UUID,...")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, max=1024, help="Of each rank, on the CPU; default: its share of the cores."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
