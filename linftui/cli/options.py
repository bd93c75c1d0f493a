"""Options that several commands share, and the completion of names."""

from pathlib import Path
from typing import Annotated

import typer


def _recipe_names(incomplete: str) -> list[str]:
    from linftui.recipe.load import recipe_folders

    names = {path.stem for folder in recipe_folders() for path in folder.glob("*.yaml")}
    files = [str(path) for path in Path().glob(f"{incomplete}*") if path.suffix == ".yaml" or path.is_dir()]
    return sorted(name for name in names if name.startswith(incomplete)) + files


def _run_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    from linftui.rundir.store import RunStore

    store = RunStore(Path(ctx.params.get("runs_dir") or "runs"))
    return sorted(run.id for run in store.runs() if run.id.startswith(incomplete))


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
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Override a recipe's value; repeatable.")
]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", envvar="LINFTUI_RUNS_DIR", help="The folder of run directories.")
]
Devices = Annotated[str, typer.Option("--devices", help="auto | cpu | cpu:N | gpu:N | 0,3 | UUID,...")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
