"""What the tests of the dashboard share: folders of real runs, and a way to show them to a person."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.person import Person, Script

from linftui.rundir.paths import RunPaths
from linftui.rundir.store import RunStore
from linftui.tui.app import Dashboard


@pytest.fixture
def certified_runs(certified_run: Path, tmp_path: Path) -> Path:
    """A folder with one finished run, `tiny-run`, that has three certificates."""
    shutil.copytree(certified_run, tmp_path / "runs" / "tiny-run")
    return tmp_path / "runs"


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Shows a folder of runs to a person, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def show(
        folder: Path, script: Script, *, size: tuple[int, int] = (100, 30), first: str | None = None
    ) -> None:
        async def act() -> None:
            app = Dashboard(RunStore(folder), RunPaths(folder / first) if first else None)
            async with app.run_test(size=size, notifications=True) as pilot:
                await script(Person(app, pilot))

        asyncio.run(act())

    return show
