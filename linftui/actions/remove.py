"""Removing a run for good."""

import contextlib
import shlex

from linftui.errors import RunDirectoryError, RunStateError
from linftui.launch.certification import certifications
from linftui.launch.lock import sole_supervisor
from linftui.launch.removal import remove_held
from linftui.rundir.paths import RunPaths
from linftui.rundir.state import GOING_ON, run_state
from linftui.rundir.store import read_meta


def size(paths: RunPaths) -> int:
    """How many bytes the files of a run take."""
    return sum(file.lstat().st_size for file in paths.root.rglob("*") if not file.is_dir())


def remove(paths: RunPaths) -> None:
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
        remove_held(paths)


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
