"""How an action reports its progress: in a few words, or a download in bytes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linftui.data.download import Progress

Report = Callable[[str], None]


def silent(text: str) -> None:
    """Reports nothing."""


def in_words(report: Report) -> "Progress":
    """Progress of downloads, reported in words."""

    def show(name: str, done: int, total: int | None) -> None:
        of = f" of {total / 2**20:.0f}" if total else ""
        report(f"downloading {name}: {done / 2**20:.0f}{of} MiB")

    return show
