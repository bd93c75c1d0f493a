"""One run's screen where the run ended badly, is damaged, or has nothing to show."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from msgspec import structs
from opened_run import opened, screen_of, train_record
from support.person import Person, append
from support.stand_ins import revive

from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_all, read_record
from linftui.rundir.records import (
    DeviceRecord,
    EvalRecord,
    EventName,
    EventRecord,
    ExitRecord,
    Gpu,
    MetaRecord,
)
from linftui.rundir.writer import write_record
from linftui.tui.widgets.history_lines import history_lines
from linftui.tui.widgets.side_panel import SidePanel

Show = Callable[..., None]


@pytest.mark.parametrize("outcome", ["failed", "stopped"])
def test_why_a_run_ended_is_told(runs: Path, show: Show, outcome: Literal["failed", "stopped"]) -> None:
    ended = ExitRecord(
        attempt=1,
        outcome=outcome,
        code=1,
        time=0.0,
        message="the [b]loss[/b] is no longer finite",
        hint="mend it",
    )
    write_record(runs / "tiny-run" / "exit.json", ended)

    async def script(person: Person) -> None:
        await opened(person)
        await person.sees(outcome, "the [b]loss[/b] is no longer finite; mend it")

    show(runs, script, first="tiny-run")


def test_a_long_reason_says_that_there_is_more_of_it(runs: Path, show: Show) -> None:
    reason = " ".join(f"word{number}" for number in range(100))
    ended = ExitRecord(attempt=1, outcome="failed", code=1, time=0.0, message=reason)
    write_record(runs / "tiny-run" / "exit.json", ended)

    async def script(person: Person) -> None:
        screen = await opened(person)
        await person.sees("word0 word1")
        [last] = [line for line in person.screen().splitlines() if line.rstrip().endswith(" …")]
        assert "word99" not in last and history_lines(screen.model)[-1].plain.endswith("word99")

    show(runs, script, first="tiny-run")


def test_a_run_that_finished_at_chance_level_says_so(runs: Path, show: Show) -> None:
    paths = RunPaths(runs / "tiny-run")
    last = [record for record in read_all(paths) if isinstance(record, EvalRecord)][-1]
    append(paths.metrics, structs.replace(last, clean_accuracy=0.1, certified_accuracy=0.0, time=time.time()))
    said = "at chance level: clean accuracy 0.1000"

    async def script(person: Person) -> None:
        screen = await opened(person)
        await person.sees(said)
        assert f"attempt 1 finished: {said}" in history_lines(screen.model)[-1].plain
        await person.press("escape")
        panel = person.app.screen.query_one(SidePanel)
        await person.until(lambda: said in " ".join(line.plain for line in panel.make_lines(200, 40)))

    show(runs, script, first="tiny-run")


@pytest.mark.parametrize(("goes_on", "said"), [(True, "no data yet"), (False, "no data")])
def test_where_there_are_no_data_only_a_run_that_goes_on_promises_some(
    runs: Path, show: Show, goes_on: bool, said: str
) -> None:
    paths = revive(runs / "tiny-run") if goes_on else RunPaths(runs / "tiny-run")
    paths.metrics.write_bytes(b"")
    if not goes_on:
        write_record(
            paths.exit, ExitRecord(attempt=1, outcome="failed", code=1, time=0.0, message="out of luck")
        )

    async def script(person: Person) -> None:
        await opened(person)
        await person.sees(said)
        assert ("no data yet" in person.screen()) == goes_on

    show(runs, script, first="tiny-run")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("stopped", "its supervisor was killed; step 1,234 was saved"),
        ("finished", "its supervisor was killed; the training finished at step 1,234"),
        ("warning", "its processes are gone and left no message"),
    ],
)
def test_what_a_killed_supervisor_left_is_told_from_the_events(
    runs: Path, show: Show, event: EventName, said: str
) -> None:
    paths = RunPaths(runs / "tiny-run")
    paths.exit.unlink()
    append(paths.events, EventRecord(attempt=1, step=1234, time=time.time(), event=event))

    async def script(person: Person) -> None:
        await opened(person)
        await person.sees("✗ crashed", said)
        await person.press("escape")
        panel = person.app.screen.query_one(SidePanel)
        await person.until(lambda: person.app.facts)
        assert said in " ".join("".join(line.plain for line in panel.make_lines(200, 40)).split())

    show(runs, script, first="tiny-run")


@pytest.mark.parametrize(("lines", "said"), [(1, "1 line of its files"), (2, "2 lines of its files")])
def test_lines_that_cannot_be_read_are_counted(runs: Path, show: Show, lines: int, said: str) -> None:
    with RunPaths(runs / "tiny-run").metrics.open("ab") as file:
        file.write(b"{\n" * lines)

    async def script(person: Person) -> None:
        await opened(person)
        await person.sees(f"{said} cannot be read")

    show(runs, script, first="tiny-run")


def test_a_run_whose_directory_vanishes_is_told_of(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await opened(person)
        shutil.rmtree(runs / "tiny-run")
        await person.sees("! gone  tiny-run", "tiny-run is no longer there")
        assert "damaged" not in person.line("! gone")
        await person.press("C")
        await person.sees("the run's directory is no longer there")
        await person.press("escape")
        await person.sees("No runs here yet")

    show(runs, script, first="tiny-run", size=(120, 40))


@pytest.mark.parametrize("file", ["meta.json", "state.json", "exit.json", "metrics.jsonl", "resolved.yaml"])
def test_damage_is_shown_and_breaks_nothing(runs: Path, show: Show, file: str) -> None:
    (runs / "tiny-run" / file).write_bytes(b'\x00\xff{"kind": [bold]\n')

    async def script(person: Person) -> None:
        await person.until(lambda: screen_of(person).model.standing is not None)
        await person.sees("cannot be")
        for key in ("1", "z", "escape", "escape", "l", "escape", "y", "S", "escape", "escape"):
            await person.press(key)

    show(runs, script, first="tiny-run")


def test_numbers_of_a_damaged_record_break_nothing(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")
    last = train_record(paths)
    nan, inf = float("nan"), float("inf")

    async def script(person: Person) -> None:
        screen = await opened(person)
        append(paths.metrics, structs.replace(last, epoch=nan, loss=nan, time=inf, p=-1.0, lam=-inf))
        append(paths.metrics, structs.replace(last, epoch=-4.0, step=-7), structs.replace(last, epoch=1e300))
        append(paths.metrics, structs.replace(last, epoch=inf, time=nan, images_per_s=nan, lr=inf))
        count = len(screen.model.events)
        append(paths.events, EventRecord(attempt=2, step=-1, time=1e300, event="warning", message="x"))
        await person.until(lambda: len(screen.model.events) > count)
        await person.press("1", "z", "left", "escape", "escape")

    show(runs, script, first="tiny-run")


def test_an_absurd_number_leaves_room_for_the_others(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")
    last = train_record(paths)

    async def script(person: Person) -> None:
        await opened(person)
        append(paths.metrics, structs.replace(last, epoch=1e308, images_per_s=1e308, loss=1e308, time=1e308))
        await person.sees("epoch 1e+308/3", "999%", "step 36", "loss 1e+308", "1e+308 img/s")
        assert "epoch 1e+308/3" in person.line("999%") and "loss 1e+308" in person.line("img/s")
        await person.press("escape")
        await person.sees("-/3")

    show(runs, script, first="tiny-run")


def test_nothing_is_divided_by_what_is_nothing(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")
    last = train_record(paths)
    meta = read_record(paths.meta, MetaRecord)
    assert meta is not None
    write_record(paths.meta, structs.replace(meta, epochs=0))
    append(paths.metrics, structs.replace(last, attempt=2, step=0, images_per_s=0.0, loss=0.75))
    gpu = Gpu(index=0, uuid="GPU-0", name="", memory_total=0, memory_used=0, utilisation=0.0)
    sample = DeviceRecord(
        attempt=2, time=last.time, cpu=0.0, memory_used=0, memory_total=0, run_cpu=0.0, run_memory=0, gpus=[]
    )
    append(
        paths.devices, sample, structs.replace(sample, gpus=[gpu]), structs.replace(sample, gpus=[gpu] * 4)
    )

    async def script(person: Person) -> None:
        screen = await opened(person)
        await person.sees("loss 0.7500", "/-")
        await person.until(lambda: "gpus, mean" in screen.model.curves.devices)
        await person.press("1", "z", "left", "escape", "escape", "escape")
        await person.sees("3/-")

    show(runs, script, first="tiny-run")
