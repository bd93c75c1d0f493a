"""Running programs of the system without any influence of the current folder, which may be a stranger's."""

import os
import shutil
import subprocess

PATIENCE_S = 5.0


def search_path() -> str:
    """PATH without entries that are relative to the current folder: empty ones, dots, names."""
    return os.pathsep.join(filter(os.path.isabs, os.get_exec_path())) or os.defpath


def output_of(program: str, *arguments: str) -> str | None:
    """What a program prints, without the white space around it; None where it is absent, fails or hangs.

    It is looked for in `search_path`, started in the root folder and given no input.
    """
    found = shutil.which(program, path=search_path())
    if found is None:
        return None
    try:
        answer = subprocess.run(
            [found, *arguments],
            cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=PATIENCE_S, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
