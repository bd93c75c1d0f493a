"""Where the ranks of one machine meet: in files, since a store that listens would listen on every network."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from linftui.errors import WorkerError
from linftui.rundir.paths import RunPaths
from linftui.user_folders import temporary_folder


def check_temporary_folder(ranks: int) -> None:
    """Raises WorkerError where there is none, or where several ranks could not find each other in it."""
    folder = temporary_folder()
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        if ranks > 1:
            raise WorkerError(
                f"ranks meet in files, and torch cannot open them in {folder}, which is not UTF-8",
                "set TMPDIR to another folder",
            ) from error


def make_rendezvous(paths: RunPaths) -> Path:
    """A new folder where the ranks meet: local, since it needs locks, and readable by its owner alone.

    A folder that a killed supervisor of this run left is removed.
    """
    prefix = f"linftui-{hashlib.sha256(os.fsencode(paths.root.absolute())).hexdigest()[:16]}-"
    for left in temporary_folder().glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=prefix))
