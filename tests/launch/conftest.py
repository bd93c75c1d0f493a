"""What the tests of launching share: an empty run directory, who seems to work for it, runs to disturb."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.attempts import PLAN, SLOW, TWO, slowly
from support.stand_ins import empty_run, pretend_to_work_for

from linftui.cores import usable_cores
from linftui.launch.supervisor import Supervisor
from linftui.rundir.paths import RunPaths


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """A run directory in which nothing has happened yet."""
    return empty_run(tmp_path)


@pytest.fixture
def sleeper(paths: RunPaths) -> Iterator[subprocess.Popen[bytes]]:
    """A process that may be ended, for its command line says that it works for the run."""
    with pretend_to_work_for(paths) as process:
        yield process


@pytest.fixture
def slow(tiny_recipe: Path, tmp_path: Path) -> Iterator[Supervisor]:
    """Such a run of one rank."""
    yield from slowly(tiny_recipe, tmp_path, PLAN, SLOW)


@pytest.fixture
def slow_two(tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """Such a run of two ranks, with a folder of its own for temporary files."""
    if usable_cores() < 2:
        pytest.skip("two ranks need two cores")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield from slowly(tiny_recipe, tmp_path, TWO, ["evaluation.batch_size=10", "log.every_steps=1"])
