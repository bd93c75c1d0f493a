"""What the tests of the commands share: runs to spoil or to stop, and what every error must look like."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cli_processes import pid_of

from linftui.errors import LinftuiError
from linftui.processes.members import announced_ranks
from linftui.processes.signalling import end_members
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import StateRecord


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


@pytest.fixture
def frozen_run(
    linftui: Callable[..., subprocess.CompletedProcess[str]], tiny_recipe: Path, tmp_path: Path
) -> Path:
    """A run, runs/frozen, that goes on but gets nowhere: its rank stands still until it is ended.

    So a test need not be quicker than a training.
    """
    done = linftui("run", tiny_recipe, "--name", "frozen", "--detach")
    assert (done.returncode, done.stdout, done.stderr) == (0, "frozen\n", "")
    run = tmp_path / "runs" / "frozen"
    os.kill(pid_of(run, "rank-0"), signal.SIGSTOP)
    return run


@pytest.fixture(autouse=True)
def _no_run_outlives_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs live on their own, so whoever begins one sees to its end, and to what it leaves behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield
    for run in (tmp_path / "runs").glob("*"):
        paths = RunPaths(run)
        with contextlib.suppress(LinftuiError):
            state = read_record(paths.state, StateRecord)
            if state is not None:  # the supervisor comes first in it, lest it starts something meanwhile
                end_members(paths, [*state.members, *announced_ranks(paths, state.attempt)])
