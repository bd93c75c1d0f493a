"""Every screen at two sizes, as it was when somebody last looked at it: characters and colours.

After a change that is meant, `pytest tests/tui/test_pictures.py --update-pictures` writes them again; look at
the difference before you commit it.
"""

import asyncio
import difflib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs
from support.person import Person
from support.pictures import picture
from textual.widgets import Input

from linftui import devices
from linftui.devices import DeviceSnapshot, Gpu
from linftui.rundir.liveness import describe_process, folder_identity, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import StateRecord
from linftui.rundir.store import RunStore
from linftui.rundir.writer import write_record
from linftui.tui.app import Dashboard
from linftui.tui.screens.runs import RunsScreen

PAST = Path(__file__).parents[1] / "fixtures" / "first"
PICTURES = Path(__file__).with_name("pictures")
PATIENCE_S, SETTLED_S = 20.0, 1.0

# When the runs were made may be the future yet to some machine's clock, and its records are not believed.
EARLIER_S = 330 * 86_400
NOW = 1795825600.0 - EARLIER_S  # some seconds after the last record of any of them

BUSY, IDLE = (
    Gpu(
        index=index, uuid=f"GPU-{index}", name="NVIDIA H100 80GB HBM3", utilisation=busy, power=watts,
        memory_used=used << 30, memory_total=80 << 30, temperature=degrees,
    )
    for index, busy, used, watts, degrees in ((0, 0.97, 31, 640.0, 61.0), (1, 0.0, 1, 71.0, 33.0))
)  # fmt: skip
MACHINE = DeviceSnapshot(
    cores=16, memory_total=128 << 30, memory_available=96 << 30, gpus=(BUSY, IDLE), gpu_problem="", cpu=0.25
)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs in most states, always the same: one goes on, and one is damaged."""
    folder = tmp_path / "runs"
    for run in PAST.iterdir():
        if run.is_dir():
            shutil.copytree(run, folder / run.name)
    running = RunPaths(Path(shutil.copytree(PAST / "resumed", folder / "running")))
    _cut_short(running)
    for file in filter(Path.is_file, folder.rglob("*")):
        if file.suffix in (".json", ".jsonl"):
            file.write_text(re.sub(r'("(?:time|created)":)(\d+\.\d+)', _earlier, file.read_text()))
        os.utime(file, (NOW, NOW))
    _revive(running)
    shutil.copytree(PAST / "crashed", folder / "damaged")
    (folder / "damaged" / "meta.json").write_text("{")
    return folder


def _earlier(moment: re.Match[str]) -> str:
    return f"{moment[1]}{float(moment[2]) - EARLIER_S}"


def _cut_short(run: RunPaths) -> None:
    """As the run was in the middle of its second attempt."""
    for path in (run.certificates, run.logs(2), run.checkpoint(275).root, run.checkpoint(330).root):
        shutil.rmtree(path)
    run.exit.unlink()
    run.meta.write_text(run.meta.read_text().replace('"id":"resumed"', '"id":"running"'))
    for file in (run.metrics, run.events):
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if json.loads(line)["step"] <= 270))


def _revive(run: RunPaths) -> None:
    """This very process trains it."""
    state, me = read_record(run.state, StateRecord), describe_process(os.getpid(), "supervisor")
    assert state is not None and me is not None
    run.logs(2).mkdir()
    members = [me, structs.replace(me, role="rank-0")]
    write_record(
        run.state,
        structs.replace(
            state, phase="running", host=this_host(), members=members, devices=["GPU-0"],
            folder=folder_identity(run.root),
        ),
    )  # fmt: skip


@pytest.fixture
def still_world(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another machine, another time, and a clock that stands still: what is shown depends on them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "_machine", lambda *_: MACHINE)
    monkeypatch.setattr(Dashboard, "now", staticmethod(lambda: NOW))
    monkeypatch.setenv("PATH", str(tmp_path))  # nobody can be asked whether runs end at logout
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Album:
    """The pictures of one size, compared with those that are kept, or written in their place."""

    def __init__(self, person: Person, size: str, update: bool) -> None:
        self._person, self._size, self._update = person, size, update
        self.differences = list[str]()

    async def take(self, name: str, *texts: str) -> None:
        """Takes the picture of a screen that shows all of the texts, once nothing moves on it any more."""
        await self._person.sees(*texts)
        kept = PICTURES / f"{name}-{self._size}.txt"
        if self._update:
            PICTURES.mkdir(exist_ok=True)
            kept.write_text(await self._settled())
            return
        expected = kept.read_text() if kept.exists() else ""
        deadline = time.monotonic() + (SETTLED_S if self.differences else PATIENCE_S)
        while (found := picture(self._person.app)) != expected and time.monotonic() < deadline:
            await self._person.pilot.pause(0.05)
        lines = (expected.splitlines(), found.splitlines())
        self.differences += difflib.unified_diff(*lines, kept.name, "now", lineterm="")

    async def _settled(self) -> str:
        found, since = picture(self._person.app), time.monotonic()
        while time.monotonic() - since < SETTLED_S:
            await self._person.pilot.pause(0.05)
            if (now := picture(self._person.app)) != found:
                found, since = now, time.monotonic()
        return found


async def _tour(person: Person, album: Album, runs: Path) -> None:
    """Visits every screen."""
    await person.until(lambda: person.app.complete and person.app.machine and person.app.facts)
    await _choose(person, "crashed")
    await album.take("runs", "● running", "two-ranks", "! damaged")
    await person.press("question_mark")
    await album.take("help", "Everywhere")
    await person.press("escape", "ctrl+p")
    for field in person.app.screen.query(Input):
        field.cursor_blink = False
    await album.take("palette", "quit")
    await person.press("escape")
    await _launch(person, album)
    await _of_one_run(person, album)
    await _ask(person, album, runs)


async def _launch(person: Person, album: Album) -> None:
    await person.press("R")
    await album.take("launch", "Train a recipe", "350 epochs")
    await person.press("escape")


async def _of_one_run(person: Person, album: Album) -> None:
    await _choose(person, "running")
    await person.press("enter")
    await album.take("run", "● running", "eps 0.1", "attempt 2")
    await person.press("1", "z")
    await album.take("chart", "certified")
    await person.press("escape", "escape", "l")
    await album.take("log", "attempt 2 at step 153")
    await person.press("escape", "y")
    await album.take("recipe", "with every value")
    await person.press("escape", "escape")


async def _ask(person: Person, album: Album, runs: Path) -> None:
    await _choose(person, "whole")
    await person.press("C")
    await album.take("certify", "Certify whole", "8/255")
    await person.press("escape", "escape")
    await _choose(person, "stopped")
    await person.press("U")
    await album.take("question", "Resume stopped?", "from step")
    await person.press("escape")
    for trainer in (runs / "stopped").glob("checkpoints/*/trainer.json"):
        trainer.write_text("damaged")
    await person.press("U")
    await album.take("problem", "That did not work")


async def _choose(person: Person, run: str) -> None:
    """Puts the cursor on a run."""
    screen = person.app.screen
    assert isinstance(screen, RunsScreen)
    await person.press("home")
    while screen.row is not None and screen.row.summary.id != run:
        await person.press("down")
    await person.until(lambda: person.app.facts and person.app.facts.paths.id == run)


@pytest.mark.usefixtures("still_world")
@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
def test_every_screen_looks_as_it_did(
    runs: Path, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    async def act() -> list[str]:
        app = Dashboard(RunStore(Path("runs")))
        async with app.run_test(size=size) as pilot:
            person = Person(app, pilot)
            album = Album(person, "{}x{}".format(*size), request.config.getoption("--update-pictures"))
            await _tour(person, album, runs)
        return album.differences

    if differences := asyncio.run(act()):
        told = "if this is meant, look at it, then: pytest tests/tui/test_pictures.py --update-pictures"
        pytest.fail("\n".join([*differences, told]), pytrace=False)
