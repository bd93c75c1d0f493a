"""Which processes work for a run: each says so in a file, and is believed if its command line agrees."""

import os
from pathlib import Path

from linftui.rundir.liveness import describe_process, folder_identity, is_here, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import MemberRecord, ProcessRecord
from linftui.rundir.writer import write_record

# The words after them name the run. Processes that an earlier version started have them too.
_MODULES = (b"linftui.worker", b"linftui.launch.supervisor")


def announce(record: Path, role: str, run: Path) -> None:
    """Records which process this is, and which folder it works in. Raises RunDirectoryError.

    Args:
        record: the file to write.
        role: such as "rank-0".
        run: the run directory.
    """
    me = describe_process(os.getpid(), role)
    if me is not None:
        write_record(record, MemberRecord(host=this_host(), process=me, folder=folder_identity(run)))


def announced_ranks(paths: RunPaths, attempt: int) -> list[ProcessRecord]:
    """The ranks of an attempt that have announced themselves, on this host.

    Raises:
        RunDirectoryError: one of their records is damaged.
    """
    files = sorted(paths.logs(attempt).glob("member-*.json"))
    members = [read_record(path, MemberRecord) for path in files]
    return [member.process for member in members if member is not None and is_here(member.host)]


def works_for(process: ProcessRecord, run: RunPaths) -> bool:
    """Whether a process runs linftui's worker or supervisor on this very folder, by its own command line.

    A stranger's state.json may name any process of ours, such as an editor with a file of linftui's open.
    """
    try:
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            words = file.read(1 << 16).split(b"\0")
        here = os.stat(run.root)
    except OSError:
        return False
    modules = [n for n, (flag, module) in enumerate(zip(words, words[1:], strict=False))
               if flag == b"-m" and module in _MODULES]  # fmt: skip
    paths = [word for n in modules for word in words[n + 2 :][:2]]
    # torchrun is given each dollar twice.
    return any(_is_folder(word, here) or _is_folder(word.replace(b"$$", b"$"), here) for word in paths)


def _is_folder(word: bytes, folder: os.stat_result) -> bool:
    try:
        return os.path.isabs(word) and os.path.samestat(os.stat(word), folder)
    except (OSError, ValueError):
        return False
