"""What the tests of processes share: an empty run directory, and who seems to work for it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stand_ins import empty_run, pretend_to_work_for

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
