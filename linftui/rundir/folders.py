"""Putting a folder that is whole in the place of another, so that a kill at any moment leaves one of them.

Checkpoints and certificates are folders, and no system call replaces a folder that holds something. Linux can
exchange two names in one step; where a file system cannot, the new folder first takes a name that says whose
place it is to take, and `finish_replacements` ends what a killed process has begun.
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

# Renaming takes a moment: a lock that is held for longer is a stranger's, who can lock what they can read.
LOCKED_S = 5.0

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def replace_folder(new: Path, target: Path) -> None:
    """Gives the folder `new`, which is whole, the name of `target`; what had that name is removed.

    Raises:
        OSError: it cannot be renamed. What had the name still has it, or `finish_replacements` puts in its
            place what is new.
    """
    with _alone_in(target.parent):
        _remove(_successor(target))  # an earlier one, that never took its place
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
    """Ends what processes that were killed in `replace_folder` have begun within `folder`.

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
    """Puts the successor, which is whole, in the place of the target or of what is left of it."""
    predecessor = target.with_name(f".{target.name}.predecessor")
    _remove(predecessor)
    with contextlib.suppress(FileNotFoundError):  # a killed process came so far
        try:
            os.rename(target, predecessor)
        except OSError as error:
            # An overlay does not rename a folder of the image below it, but removes it.
            if error.errno != errno.EXDEV:
                raise
            _remove(target)
    try:
        os.rename(_successor(target), target)
    except FileNotFoundError:  # without locks, somebody else may have done it
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
    """Keeps those apart who replace in this folder, or finish what another seems to have left."""
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
    """Removes a folder as far as it can be, or the link that has its name; nothing is no error."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
