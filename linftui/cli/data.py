"""`linftui data fetch`: get data sets, verified, before a run needs them."""

from pathlib import Path
from typing import Annotated

import typer

from linftui.cli.options import AsJson
from linftui.cli.render import print_json
from linftui.cli.screen import has_bars
from linftui.errors import UsageError
from linftui.text import clean

app = typer.Typer(help="Fetch data sets.", rich_markup_mode=None)


@app.callback()
def _family() -> None:
    pass  # keeps `fetch` a subcommand while it is the only one


@app.command()
def fetch(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET...", help="digits, mnist, cifar10.")],
    root: Annotated[
        str | None, typer.Option(help="Verify the files in this folder instead of downloading.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download data sets into the per-user cache, resuming what was begun, and verify them."""
    from linftui.data.download import DATASETS

    for dataset in datasets:
        if dataset not in DATASETS:
            raise UsageError(f"there is no data set {dataset!r}", f"choose one of {', '.join(DATASETS)}")
        path = fetch_with_progress(dataset, root)
        if as_json:
            print_json({"dataset": dataset, "path": str(path)})
        else:
            print(clean(f"{dataset}: ready in {path}"))


def fetch_with_progress(dataset: str, root: str | None) -> Path:
    """The folder of a data set's verified files; downloads show a bar on stderr where it is a terminal."""
    from linftui.data.download import ensure

    folder = None if root is None else Path(root)
    if not has_bars():
        return ensure(dataset, folder)
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    from rich.progress import TaskID as Task

    bar = Progress(
        TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    tasks: dict[str, Task] = {}
    with bar:

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        return ensure(dataset, folder, show)
