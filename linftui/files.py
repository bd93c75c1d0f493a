"""Opening files that anyone may have made, and making our own: of which kind, through which links, for whom.

A run, a recipe, a data set or a shared cache may come from a stranger. A pipe would block the process that
opens it, a file may be endless, a link leads elsewhere. So a file's kind and size are checked before its
content is read, and nothing is written through a link.
"""

import errno
import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path

_FILE_MODE = 0o644
_PRIVATE_MODE = 0o600  # for a lock, which anyone who can read it can hold


def keep_others_from_writing() -> None:
    """Denies everyone but the owner the right to write, for every file and folder this process will make.

    Processes that it starts inherit this, so it is called once, where the command line begins. A stricter
    umask stays as it is.
    """
    os.umask(os.umask(0o077) | 0o022)


def open_regular(path: Path, *, follow_links: bool = False) -> BufferedReader:
    """Opens a file for reading, but not a pipe or a device; nor a link, unless `follow_links`.

    Links lead out of a run, but users may name a recipe or a data set by one.

    Raises:
        OSError: there is no such regular file.
    """
    _require_regular(os.stat(path, follow_symlinks=follow_links))  # a device may act on being opened
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    return open(_checked(os.open(path, flags)), "rb")


def last_lines(path: Path, tail: int = 1 << 16) -> list[str]:
    """The lines in the last `tail` bytes of a text, without empty ones; none if it cannot be read."""
    try:
        with open_regular(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - tail))
            lines = file.read(tail).decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()]


def create_file(path: Path) -> int:
    """A descriptor of a new, empty file for writing, which replaces any file, link or pipe of that name.

    Raises:
        OSError: it cannot be made, or a folder has its name.
    """
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)


def open_to_append(path: Path) -> int:
    """A descriptor for reading and appending; the file is made where there is none.

    Raises:
        OSError: it cannot be opened, is not a regular file, or has another name elsewhere.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return _only_here(_checked(os.open(path, flags, _FILE_MODE)))


def open_lock(path: Path) -> FileIO:
    """A file to take a lock on, which only its owner can open; an existing file of ours is made private.

    Raises:
        OSError: it cannot be opened: it is a link, has another name elsewhere, or is another user's.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = _only_here(os.open(path, flags, _PRIVATE_MODE))
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != _PRIVATE_MODE:
        os.fchmod(descriptor, _PRIVATE_MODE)
    return FileIO(descriptor, "r+")


def _checked(descriptor: int) -> int:
    try:
        _require_regular(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _only_here(descriptor: int) -> int:
    """Refuses a file that has another name: an archive may link to a file of the user who unpacks it."""
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise OSError(None, "it has another name elsewhere (a hard link)")
    return descriptor


def _require_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "it is not a regular file")
