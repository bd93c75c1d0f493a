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


def disk_usage(paths: RunPaths) -> int:
    """How many bytes the files of a run take."""
    return sum(file.lstat().st_size for file in paths.root.rglob("*") if not file.is_dir())


def remove(paths: RunPaths) -> None:
    """Removes a run with everything in it.

    Raises:
        RunStateError: it is active, or being certified.
        RunDirectoryError: its meta.json cannot be read, so it may not be a run; or some of it cannot be
            removed: until the last step, what is left is still listed.
    """
    _require_run(paths)
    with contextlib.closing(sole_supervisor(paths)):
        state = run_state(paths)
        if state in GOING_ON:
            raise RunStateError(f"{paths.id} is {state}", "stop it first")
        if any(certification.state == "running" for certification in certifications(paths)):
            raise RunStateError(f"{paths.id} is being certified", "wait for it to finish")
        remove_held(paths)


def _require_run(paths: RunPaths) -> None:
    """Refuses a folder whose meta.json does not describe a run: a file of that name is not enough.

    It may describe a run of another name, because users rename and copy runs.
    """
    try:
        read_meta(paths)
    except RunDirectoryError as error:
        raise RunDirectoryError(
            f"{paths.root} was not removed, because it may not be a run: {error.message}",
            f"to remove it anyway: rm -r {shlex.quote(str(paths.root.absolute()))}",
        ) from error
