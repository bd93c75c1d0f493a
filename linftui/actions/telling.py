"""How far a task is, for whoever shows it: in a few words, or a download in bytes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linftui.data.download import Progress

Report = Callable[[str], None]


def silent(text: str) -> None:
    """Tells nobody."""


def in_words(report: Report) -> "Progress":
    """The progress of downloads, told in words."""

    def show(name: str, done: int, total: int | None) -> None:
        of = f" of {total / 2**20:.0f}" if total else ""
        report(f"downloading {name}: {done / 2**20:.0f}{of} MiB")

    return show
