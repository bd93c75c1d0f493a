"""Putting a complete folder in the place of another, so that a kill at any moment leaves one of them.

Checkpoints and certificates are folders, and no system call replaces a folder that is not empty. Linux can
exchange two names in one step; where a file system cannot, the new folder first takes a name that says which
folder it is to replace, and `finish_replacements` finishes what a killed process began.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from linftui.rundir.writer import fsync_directory

# Renaming takes a moment: a lock held for longer is a stranger's, since anyone can lock what they can read.
LOCKED_S = 5.0

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def replace_folder(new: Path, target: Path) -> None:
    """Gives the complete folder `new` the name of `target`; what had that name is removed.

    Raises:
        OSError: it cannot be renamed. The old folder keeps its name, or `finish_replacements` puts the new
            one in its place.
    """
    with _alone_in(target.parent):
        _remove(_successor(target))  # an earlier one that never took its place
        if not os.path.lexists(target):
            os.rename(new, target)
            fsync_directory(target.parent)
        elif _exchange(new, target):
            fsync_directory(target.parent)
            _remove(new)
        else:
            os.rename(new, _successor(target))
            _succeed(target)


def finish_replacements(folder: Path) -> None:
    """Finishes what processes that were killed in `replace_folder` began within `folder`.

    Raises:
        OSError: something cannot be renamed.
    """
    for successor in folder.glob(".[A-Za-z0-9]*.successor"):
        with _alone_in(folder):
            if successor.is_dir() and not successor.is_symlink():  # still
                _succeed(_named(successor))
    for predecessor in folder.glob(".[A-Za-z0-9]*.predecessor"):
        with _alone_in(folder):
            if os.path.lexists(_named(predecessor)):
                _remove(predecessor)


def _named(beside: Path) -> Path:
    """The folder that a successor or a predecessor lies beside."""
    return beside.with_name(beside.stem.removeprefix("."))


def _successor(target: Path) -> Path:
    return target.with_name(f".{target.name}.successor")


def _succeed(target: Path) -> None:
    """Puts the complete successor in the place of the target, or of what is left of it."""
    predecessor = target.with_name(f".{target.name}.predecessor")
    _remove(predecessor)
    with contextlib.suppress(FileNotFoundError):  # a killed process got this far
        try:
            os.rename(target, predecessor)
        except OSError as error:
            # An overlay cannot rename a folder of the image below it, but can remove it.
            if error.errno != errno.EXDEV:
                raise
            _remove(target)
    try:
        os.rename(_successor(target), target)
    except FileNotFoundError:  # without locks, another process may have done it
        if not os.path.lexists(target):
            raise
    fsync_directory(target.parent)
    _remove(predecessor)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names in one step, or returns false where that cannot be done here."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lets one process at a time replace folders in here, or finish what another seems to have left."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    give_up = time.monotonic() + LOCKED_S
    try:
        while time.monotonic() < give_up:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # no locks on this file system
                break
        yield
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Removes a folder as far as possible, or the link that has its name; a missing one is not an error."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
