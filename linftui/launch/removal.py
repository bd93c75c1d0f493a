"""Removing a run for good."""

import contextlib
import shlex
import shutil

from linftui.errors import LinftuiError, RunDirectoryError, RunStateError
from linftui.launch.certification import certifications
from linftui.launch.lock import sole_supervisor
from linftui.rundir.paths import RunPaths
from linftui.rundir.state import GOING_ON, run_state
from linftui.rundir.store import hidden_beside, read_meta
from linftui.rundir.writer import cannot_write


def remove_run(paths: RunPaths) -> None:
    """Removes a run with everything in it.

    Raises:
        RunStateError: it is going on, or being certified.
        RunDirectoryError: its meta.json cannot be read, so that it may be no run; or not all of it can be
            removed; until the last step, what is left is still listed.
    """
    _require_run(paths)
    with contextlib.closing(sole_supervisor(paths)):
        state = run_state(paths)
        if state in GOING_ON:
            raise RunStateError(f"{paths.id} is {state}", "stop it first")
        if any(certification.state == "running" for certification in certifications(paths)):
            raise RunStateError(f"{paths.id} is being certified", "wait for the end of it")
        _remove(paths)


def withdraw_run(paths: RunPaths) -> None:
    """Removes a run whose first attempt could not be begun, so that its name is free again.

    One that somebody else has taken meanwhile stays, and one that cannot be removed stays listed.
    """
    with contextlib.suppress(LinftuiError), contextlib.closing(sole_supervisor(paths)):
        _remove(paths)


def _require_run(paths: RunPaths) -> None:
    """A folder is not removed because of a file's name: what the file says must be a run's.

    Which run it says is not asked, for a person may rename and copy runs.
    """
    try:
        read_meta(paths)
    except RunDirectoryError as error:
        raise RunDirectoryError(
            f"{paths.root} is not removed, for it may be no run: {error.message}",
            f"if it is to go all the same: rm -r {shlex.quote(str(paths.root.absolute()))}",
        ) from error


def _remove(paths: RunPaths) -> None:
    """Removes a run whose lock we hold. Raises RunDirectoryError."""
    # Until the rest is gone the folder stays a run whose lock we hold: nobody begins an attempt in it, and a
    # removal that is interrupted can be repeated. The recipe goes first, so that what is left is not resumed.
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
