"""What the tests of checkpoints share: an empty run directory."""

from pathlib import Path

import pytest

from linftui.rundir.paths import RunPaths


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "run")
    paths.checkpoints.mkdir(parents=True)
    return paths
