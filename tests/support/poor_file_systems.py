"""File systems that this machine has not, or that need an administrator: for tests that meet them."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("poor_file_system.c")


def poor_environment(folder: Path, **refused: int) -> dict[str, str]:
    """An environment whose processes have each of these calls fail with that error's number."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the stand-in for a file system with")
    library = folder / "poor_file_system.so"
    if not library.exists():
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    poor = ",".join(f"{call}={number}" for call, number in refused.items())
    return {**os.environ, "LD_PRELOAD": str(library), "POOR": poor}


@contextmanager
def mounted(kind: str, folder: Path, options: str = "") -> Iterator[Path]:
    """A file system of this kind at `folder`; the test is skipped where it cannot be mounted."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", kind, *(["-o", options] if options else []), kind, folder]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode != 0:
        pytest.skip(f"{kind} cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # something may be open still


@contextmanager
def overlaid(lower: Path, folder: Path) -> Iterator[Path]:
    """An overlay over `lower`, as a container has it over its image; its other folders are in `folder`."""
    merged, upper, work = (folder / name for name in ("merged", "upper", "work"))
    for made in (upper, work):
        made.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off"
    with mounted("overlay", merged, options) as overlay:
        yield overlay


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full once a file has this many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
