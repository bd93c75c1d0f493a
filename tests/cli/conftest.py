"""What the tests of the commands share: a finished run to spoil, and what every error must look like."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def copied_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, at runs/tiny-run of the folder that commands run in."""
    return Path(shutil.copytree(finished_run, tmp_path / "runs" / "tiny-run"))


@pytest.fixture
def fails(linftui: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Runs a command that must fail as all do: an exit code, one sentence on stderr, nothing on stdout."""

    def fails(code: int, *arguments: str | Path, **environment: str) -> str:
        done = linftui(*arguments, **environment)
        assert done.returncode == code, done
        assert done.stdout == ""
        [line] = done.stderr.splitlines()
        assert line.isprintable() and line.startswith("linftui: ") and "Traceback" not in line
        return line.removeprefix("linftui: ")

    return fails
