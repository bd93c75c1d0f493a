"""Removing a run's folder, by a process that holds the run's lock."""

import contextlib
import shutil

from linftui.errors import LinftuiError
from linftui.launch.lock import sole_supervisor
from linftui.rundir.paths import RunPaths
from linftui.rundir.store import hidden_beside
from linftui.rundir.writer import cannot_write


def withdraw_run(paths: RunPaths) -> None:
    """Removes a run whose first attempt could not begin, so that its name is free again.

    A run that another process has taken meanwhile stays, and one that cannot be removed stays listed.
    """
    with contextlib.suppress(LinftuiError), contextlib.closing(sole_supervisor(paths)):
        remove_held(paths)


def remove_held(paths: RunPaths) -> None:
    """Removes a run whose lock we hold. Raises RunDirectoryError."""
    # Until the rest is gone the folder stays a run whose lock we hold: no attempt can begin in it, and an
    # interrupted removal can be repeated. The recipe goes first, so that the rest cannot be resumed.
    kept = (paths.meta, paths.control)
    try:
        for entry in sorted(paths.root.iterdir(), key=lambda entry: entry != paths.resolved):
            if entry in kept:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        shutil.rmtree(paths.root.rename(hidden_beside(paths, "gone")))
    except OSError as error:
        raise cannot_write(paths.root, error) from error
