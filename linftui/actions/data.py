"""The data set that a run needs, fetched before the run starts."""

from pathlib import Path
from typing import TYPE_CHECKING

from linftui.actions.telling import Report, in_words, silent
from linftui.recipe.data import DataSection, OfficialData

if TYPE_CHECKING:
    from linftui.data.download import Progress


def fetch_for(data: DataSection, report: Report = silent, progress: "Progress | None" = None) -> None:
    """Fetches the data set of a recipe, if it has official files. Otherwise as `fetch`."""
    if isinstance(data, OfficialData):
        fetch(data.dataset, data.root, report, progress)


def fetch(
    dataset: str, root: str | None, report: Report = silent, progress: "Progress | None" = None
) -> Path:
    """Verifies a data set's files, downloads those that are missing, and returns their folder.

    Args:
        dataset: its name.
        root: a folder that holds the files; None: the cache, into which missing files are downloaded.
        report: called with what is being done.
        progress: called as a download advances; None: `report` is, in words.

    Raises:
        DataError: a file cannot be fetched, or fails verification.
    """
    from linftui.data.download import ensure  # imports requests, which looking at runs does not need

    report(f"checking {dataset}")
    return ensure(dataset, None if root is None else Path(root), progress or in_words(report))
