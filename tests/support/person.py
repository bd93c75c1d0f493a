"""A person at the dashboard, for tests: presses keys, waits, reads the screen."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.events import Key
from textual.pilot import Pilot

from linftui.rundir.paths import RunPaths
from linftui.rundir.records import encode
from linftui.tui.app import Dashboard
from support.textual_inside import failure, screen_text

PATIENCE_S = 60.0


class Person:
    """Presses keys on a dashboard and reads its screen."""

    def __init__(self, app: Dashboard, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    def screen(self) -> str:
        """All that can be read now."""
        return screen_text(self.app)

    async def press(self, *keys: str) -> None:
        """Presses keys one after the other."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def press_twice(self, key: str) -> None:
        """Presses a key again before anything has come of the first time."""
        for _ in range(2):
            self.app.post_message(Key(key, "\r" if key == "enter" else key))
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Types a text into the field in focus."""
        names = {".": "full_stop", "=": "equals_sign", " ": "space", "/": "slash", "!": "exclamation_mark"}
        await self.press(*(names.get(letter, letter) for letter in text))

    async def until(self, true: Callable[[], Any]) -> None:
        """Waits until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            if (error := failure(self.app)) is not None:  # it has ended; what is on the screen will stay so
                raise error
            assert time.monotonic() < deadline, f"in vain; the screen:\n{self.screen()}"
            await self.pilot.pause(0.02)

    async def sees(self, *texts: str) -> None:
        """Waits until all these texts can be read at once."""
        await self.until(lambda: all(text in self.screen() for text in texts))

    def line(self, text: str) -> str:
        """The line of the screen that a text is on."""
        return next(line for line in self.screen().splitlines() if text in line)


Script = Callable[[Person], Awaitable[None]]


def end(run: RunPaths) -> None:
    """Sees to it that a run that a test has begun, and may not have ended, does not train on."""
    if run.meta.exists():
        subprocess.run(
            [sys.executable, "-m", "linftui", "stop", "--deadline", "5", str(run.root)],
            capture_output=True,
            timeout=120,
        )


def append(path: Path, *records: Any) -> None:
    """Adds records to a file of lines, as a run does."""
    with path.open("ab") as file:
        file.write(b"".join(encode(record) + b"\n" for record in records))
