"""The end of an attempt's log, followed as it grows; cleaned, since a program can print anything."""

import os
from pathlib import Path

from linftui.files import open_regular
from linftui.rundir.paths import RunPaths
from linftui.text import clean

TAIL_BYTES = 1 << 18  # how much of the end of an existing log is read, and how much at a time
MAX_LINE = 2000  # characters
MAX_BYTES = 4 * MAX_LINE  # a character takes at most 4
TICK_S = 0.01  # a file's mtime may lag behind the clock by this much


class LogTail:
    """Follows the log of one rank, attempt after attempt."""

    def __init__(self, paths: RunPaths, rank: int = 0) -> None:
        self._paths, self._rank = paths, rank
        self._file: Path | None = None
        self._offset = 0
        self._rest = b""
        self._cut = False  # reading began inside a line, which is dropped
        self.written = 0.0  # its mtime when it was last read, in seconds since 1970

    def poll(self, attempt: int) -> list[str]:
        """The lines written since the last call; a new attempt's log starts with a line that says so."""
        path = self._paths.rank_log(attempt, self._rank)
        lines: list[str] = []
        try:
            with open_regular(path) as file:
                end = file.seek(0, os.SEEK_END)
                if path != self._file or end < self._offset:
                    lines += self._begin(path, attempt, end)
                file.seek(self._offset)
                data = file.read(TAIL_BYTES)
                self.written = os.fstat(file.fileno()).st_mtime + TICK_S
        except OSError:
            return []
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_BYTES:
            whole, self._rest = [*whole, self._rest], b""
        if self._cut and whole:
            whole, self._cut = whole[1:], False
        return lines + [_shown(line) for line in whole]

    def _begin(self, path: Path, attempt: int, end: int) -> list[str]:
        again = self._file is not None
        self._file, self._rest = path, b""
        self._offset = max(0, end - TAIL_BYTES)
        self._cut = self._offset > 0
        return [f"── attempt {attempt} ──"] if again else []


def _shown(line: bytes) -> str:
    """The line as a terminal would finally show it: what follows the last carriage return."""
    text = line.rstrip(b"\r").rsplit(b"\r", 1)[-1][:MAX_BYTES].decode(errors="replace")
    return clean(text.expandtabs(4)[:MAX_LINE])
