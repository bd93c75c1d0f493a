"""What several tests share: the real command, a small real recipe, a finished run, the real data."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.poor_file_systems import mounted

# Some services that run tests say so in the environment, and linftui then opens no dashboard.
os.environ.pop("CI", None)

REPO = Path(__file__).resolve().parents[1]

# A real net on real digits that trains in a second or two: 1,437 images, 12 steps an epoch.
TINY = """\
name: tiny
epochs: 3
batch_size: 128
data: {dataset: digits}
model: {width: 16, depth: 2}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 0.5, end_epoch: 2.5}
objective:
  lam: {start: 0.1, end: 0.001}
log: {every_steps: 5}
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the tests can be told beside pytest's own options."""
    parser.addoption("--update-pictures", action="store_true", help="write the dashboard's pictures again")


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a recipe that trains in seconds."""
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    path.write_text(TINY)
    return path


def _run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "linftui", *map(str, arguments)],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.fixture
def linftui(tmp_path: Path) -> Command:
    """Runs the real command in a folder of the test's own; output in a pipe."""

    def run(
        *arguments: str | Path, cwd: Path = tmp_path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return _run(*arguments, cwd=cwd, **environment)

    return run


@pytest.fixture(scope="session")
def finished_run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory made by `linftui run` with the tiny recipe. Do not write to it: copy it first."""
    folder = tmp_path_factory.mktemp("finished")
    done = _run("run", tiny_recipe, "--name", "tiny-run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "tiny-run"


@pytest.fixture
def runs(finished_run: Path, tmp_path: Path) -> Path:
    """A folder with one finished run, `tiny-run`, to do with as one likes."""
    shutil.copytree(finished_run, tmp_path / "runs" / "tiny-run")
    return tmp_path / "runs"


@pytest.fixture
def ends_at_logout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lets the system say that it ends a user's processes at logout; the warning that is due then."""
    program = tmp_path / "bin" / "loginctl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho yes\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LOGNAME", "ada")
    return "this system ends your processes when you log out; run once: loginctl enable-linger"


@pytest.fixture(scope="session")
def certified_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run with three certificates made by `linftui certify`. Copy it before you write.

    They are of the whole test set at 0.1 and at 8/255, the newest, and of 50 images at 0.1 with re-estimated
    means, which is the oldest.
    """
    folder = tmp_path_factory.mktemp("certified")
    shutil.copytree(finished_run, folder / "runs" / "tiny-run")
    for claim in (["--means", "re-estimated", "--limit", "50"], ["--eps", "0.1,8/255"]):
        done = _run("certify", "tiny-run", *claim, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
    return folder / "runs" / "tiny-run"


@pytest.fixture(scope="session")
def shared_data() -> Iterator[Path]:
    """The folder of real data sets beside the checkout; the test is skipped where it is absent."""
    folder = Path(os.environ.get("LINFTUI_TEST_DATA", REPO.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}")
    yield folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB: room for a tiny run, and soon filled."""
    with mounted("tmpfs", tmp_path / "disk", "size=1M") as disk:
        yield disk
