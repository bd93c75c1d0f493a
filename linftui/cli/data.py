"""`linftui data fetch`: download and verify data sets before a run needs them."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from linftui.cli.options import AsJson
from linftui.cli.render import print_json
from linftui.cli.screen import has_bars
from linftui.errors import UsageError
from linftui.text import clean

if TYPE_CHECKING:
    from linftui.data.download import Progress

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
    """Download data sets into the per-user cache, resuming partial downloads, and verify them."""
    from linftui.actions.data import fetch as fetch_data
    from linftui.data.download import DATASETS

    for dataset in datasets:
        if dataset not in DATASETS:
            raise UsageError(f"there is no data set {dataset!r}", f"choose one of {', '.join(DATASETS)}")
        with download_bar() as progress:
            path = fetch_data(dataset, root, progress=progress)
        if as_json:
            print_json({"dataset": dataset, "path": str(path)})
        else:
            print(clean(f"{dataset}: ready in {path}"))


@contextlib.contextmanager
def download_bar() -> Iterator["Progress | None"]:
    """Shows downloads in this context as progress bars on stderr, if it is a terminal."""
    if not has_bars():
        yield None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars
    from rich.progress import TaskID as Task

    bars = Bars(
        TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    tasks: dict[str, Task] = {}

    def show(name: str, done: int, total: int | None) -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total)
        bars.update(tasks[name], completed=done)

    with bars:
        yield show
