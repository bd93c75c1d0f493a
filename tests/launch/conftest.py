"""What the tests of launching share: an empty run directory, and a process named like one of ours."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from linftui.rundir.paths import RunPaths


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """A run directory in which nothing has happened yet."""
    paths = RunPaths(tmp_path / "run")
    paths.control.mkdir(parents=True)
    paths.meta.write_text("{}")
    return paths


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that may be ended, for it is named like one of ours."""
    with subprocess.Popen(["linftui-sleep", "60"], executable="/bin/sleep") as process:
        yield process
        process.kill()
