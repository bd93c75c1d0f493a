"""What the tests of launching share: an empty run directory, who seems to work for it, runs to disturb."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.attempts import PLAN, SLOW, TWO, slowly
from support.stand_ins import paths, sleeper  # noqa: F401 - fixtures

from linftui.cores import usable_cores
from linftui.launch.supervisor import Supervisor


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
