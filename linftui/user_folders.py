"""The user's folders: home, cache, log, temporary files, and the current one; any of them may be missing.

In a container, or under a job scheduler, a user may have neither HOME nor an entry in the system's list of
users.
"""

import os
import tempfile
from pathlib import Path

from linftui.errors import UsageError, WorkerError

CACHE = "LINFTUI_CACHE"


def from_home(path: str | Path) -> Path:
    """A path as a person gives it, with `~` expanded, which a shell does only at the start of a word.

    Raises:
        UsageError: there is no such home folder.
    """
    found = os.path.expanduser(path)
    if str(found).startswith("~"):
        home = str(found).partition("/")[0]
        raise UsageError(f"{path}: there is no home folder {home}", "give the full path")
    return Path(found)


def cache_folder() -> Path:
    """$LINFTUI_CACHE, or the system's place for a user's caches; it need not exist yet.

    Raises:
        UsageError: there is neither.
    """
    if named := os.environ.get(CACHE):
        return from_home(named)
    import platformdirs

    try:
        return platformdirs.user_cache_path("linftui")
    except RuntimeError:
        raise UsageError(
            "there is no home folder to keep data and kernels in", f"set {CACHE} to a folder"
        ) from None


def log_folder() -> Path:
    """The system's place for a user's logs, made if it does not exist.

    Raises:
        OSError: it cannot be made, or there is no home folder.
    """
    import platformdirs

    try:
        return platformdirs.user_log_path("linftui", ensure_exists=True)
    except RuntimeError as error:
        raise OSError(str(error)) from error


def temporary_folder() -> Path:
    """Where torch, and ranks that meet, keep temporary files.

    Raises:
        WorkerError: there is no such folder.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise WorkerError(
            "training and certifying need a folder for temporary files, and none is writable",
            "set TMPDIR to one that is",
        ) from error


def current_folder_is_gone() -> bool:
    """Whether the current folder was removed; torch does not even load there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def leave_folder_that_is_gone() -> None:
    """Changes to the root folder if the current one is gone, for a command that writes nothing."""
    if current_folder_is_gone():
        os.chdir("/")
