"""What the tests of actions share: a process that seems to work for a run."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stand_ins import pretend_to_work_for

from linftui.rundir.paths import RunPaths


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that may be ended."""
    (tmp_path / "run").mkdir()
    with pretend_to_work_for(RunPaths(tmp_path / "run")) as process:
        yield process
