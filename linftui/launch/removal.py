"""Removing a run for good."""

import contextlib
import shutil

from linftui.errors import RunStateError
from linftui.launch.certification import certifications
from linftui.launch.lock import sole_supervisor
from linftui.rundir.paths import RunPaths
from linftui.rundir.state import run_state
from linftui.rundir.writer import cannot_write


def remove_run(paths: RunPaths) -> None:
    """Removes a run with everything in it.

    Raises:
        RunStateError: it is going on, or being certified.
        RunDirectoryError: not all of it can be removed; what is left is still listed.
    """
    with contextlib.closing(sole_supervisor(paths)):
        state = run_state(paths)
        if state in ("starting", "running", "stopping"):
            raise RunStateError(f"{paths.id} is {state}", "stop it first")
        if any(certification.state == "running" for certification in certifications(paths)):
            raise RunStateError(f"{paths.id} is being certified", "wait for the end of it")
        try:
            # meta.json makes a folder a run: it goes last, so that an interrupted removal can be repeated.
            for entry in sorted(paths.root.iterdir(), key=lambda entry: entry == paths.meta):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            paths.root.rmdir()
        except OSError as error:
            raise cannot_write(paths.root, error) from error
