"""The data set that a run needs, fetched before anything of the run is begun."""

from pathlib import Path
from typing import TYPE_CHECKING

from linftui.actions.telling import Report, in_words, silent
from linftui.recipe.data import Data, OfficialData

if TYPE_CHECKING:
    from linftui.data.download import Progress


def fetch_for(data: Data, report: Report = silent, progress: "Progress | None" = None) -> None:
    """What a recipe's data needs; data without official files are at hand. Otherwise as `fetch`."""
    if isinstance(data, OfficialData):
        fetch(data.dataset, data.root, report, progress)


def fetch(
    dataset: str, root: str | None, report: Report = silent, progress: "Progress | None" = None
) -> Path:
    """The folder of a data set's verified files.

    Args:
        dataset: its name.
        root: a folder that has the files; None: they are downloaded into the cache where they are missing.
        report: told what is done.
        progress: told how far a download is; None: `report` is, in words.

    Raises:
        DataError: they cannot be had, or are not the right ones.
    """
    from linftui.data.download import ensure  # brings requests along, which nobody needs to look at runs

    report(f"checking {dataset}")
    return ensure(dataset, None if root is None else Path(root), progress or in_words(report))
