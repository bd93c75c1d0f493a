"""Pipes that are opened by name, because torchrun passes no descriptors on to the ranks that it starts."""

import os

from linftui.errors import WorkerError


def name_of_end(descriptor: int) -> str:
    """The name "<pid>:<descriptor>:<inode>" by which another process opens this end of our pipe."""
    return f"{os.getpid()}:{descriptor}:{os.fstat(descriptor).st_ino}"


def open_end(name: str, flags: int) -> int:
    """A new descriptor for the end that a starter has named; it never blocks.

    Args:
        name: as `name_of_end` gives it.
        flags: `os.O_RDONLY` or `os.O_WRONLY`.

    Raises:
        WorkerError: the process that named it is gone, or has closed it.
    """
    pid, descriptor, inode = map(int, name.split(":"))
    try:
        opened = os.open(f"/proc/{pid}/fd/{descriptor}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise WorkerError("the supervisor is gone") from error
    if os.fstat(opened).st_ino != inode:
        raise WorkerError("the supervisor is gone")
    return opened
