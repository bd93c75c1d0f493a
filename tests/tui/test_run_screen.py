"""One run's screen: what it draws, how it grows, its keys, and runs that end badly or go away."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs
from opened_run import opened, screen_of, train_record
from support.person import Person, append
from support.stand_ins import revive
from textual.content import Content

from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_all, read_record
from linftui.rundir.records import (
    EvalRecord,
    EventRecord,
    ExitRecord,
    MetaRecord,
    StopRequest,
    TrainRecord,
)
from linftui.rundir.stopping import StopStages
from linftui.rundir.writer import write_record
from linftui.tui.app import Dashboard, PollerNews
from linftui.tui.chart.chart import Chart
from linftui.tui.live.following import Following
from linftui.tui.live.messages import RunGrew
from linftui.tui.live.run_follower import RunFollower
from linftui.tui.screens.runs import RunsScreen
from linftui.tui.screens.text import TextScreen
from linftui.tui.widgets.history_lines import history_lines
from linftui.tui.widgets.run_charts import NAMES, RunCharts
from linftui.tui.widgets.run_head import stop_line

Show = Callable[..., None]


def test_a_run_is_drawn_from_its_directory(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await opened(person)
        records = read_all(screen.paths)
        series = screen.model.curves.series
        assert len(series["loss"]) == sum(isinstance(record, TrainRecord) for record in records)
        assert len(series["certified"]) == 3  # an evaluation an epoch
        await person.sees("✓ finished", "tiny-run", "not a certificate", "p ∞", "3/3", "mixing coefficient")
        last = [record for record in records if isinstance(record, EvalRecord)][-1]
        assert f"true, p = ∞ {last.certified_accuracy:.4f}".replace(" 0.", " .") in person.screen()

    show(runs, script, first="tiny-run", size=(160, 45))


def test_a_run_is_watched_while_it_grows(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")
    last = train_record(paths)

    async def script(person: Person) -> None:
        await opened(person)
        await person.sees("● running")
        append(paths.metrics, structs.replace(last, attempt=2, loss=0.12345))
        await person.sees("loss 0.1235")
        append(
            paths.events,
            EventRecord(
                attempt=1, step=3, time=time.time(), event="warning", message="[b]the disk[/b] is full"
            ),
        )
        await person.sees("warning [b]the disk[/b] is full")
        with paths.rank_log(2, 0).open("a") as log:
            log.write("\x1b[2Jnoise [red]from a rank\n")
        await person.sees("\ufffd[2Jnoise [red]from a rank")

    show(runs, script, first="tiny-run", size=(160, 45))


def test_the_list_and_the_run_tell_the_same_time_to_come(
    runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = revive(runs / "tiny-run")
    monkeypatch.setattr(Dashboard, "now", staticmethod(lambda: 2e9))
    last = structs.replace(train_record(paths), attempt=2, p=8.0)
    append(paths.metrics, *(structs.replace(last, time=2e9 - t, epoch=e) for t, e in ((900, 1.0), (60, 2.0))))

    async def script(person: Person) -> None:
        await opened(person)
        await person.sees("● running", "ETA 13 min  p = ∞ in 6 min")  # 840 s an epoch, less the last minute
        await person.press("escape")
        await person.until(lambda: "13 min" in person.line("● running"))

    show(runs, script, first="tiny-run", size=(118, 40))


def test_a_later_attempt_counts_where_steps_were_done_twice(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")
    first = next(record for record in read_all(paths) if isinstance(record, TrainRecord))

    async def script(person: Person) -> None:
        screen = await opened(person)
        before = len(screen.model.curves.series["loss"])
        append(paths.metrics, structs.replace(first, attempt=2, loss=7.5))
        await person.sees("loss 7.500", "attempt 2")
        assert before > 1 and screen.model.curves.series["loss"].y.tolist() == [7.5]

    show(runs, script, first="tiny-run")


def test_escape_leads_back_step_by_step(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await opened(person)
        charts = screen.query_one(RunCharts)
        assert screen.focused is None
        await person.press("enter")  # as from a second press of the key that has opened it
        await person.pilot.pause(0.2)
        assert "no chart is in focus" not in person.screen()
        await person.press("z")
        await person.sees("no chart is in focus")
        await person.press("3")
        assert screen.focused is charts.chart("p")
        await person.press("tab")
        assert screen.focused is charts.chart("lam")
        await person.press("z")
        shown = [name for name in NAMES if charts.chart(name).region]
        assert charts.enlarged and shown == ["lam"]
        await person.press("1")
        assert [name for name in NAMES if charts.chart(name).region] == ["accuracy"]
        await person.press("escape")
        assert not charts.enlarged and all(charts.chart(name).region for name in NAMES)
        await person.press("escape")
        assert screen.focused is None
        await person.press("escape")
        assert isinstance(person.app.screen, RunsScreen)

    show(runs, script, first="tiny-run")


@pytest.mark.parametrize("width", [80, 160])
def test_with_a_chart_in_focus_the_runs_own_keys_stay(runs: Path, show: Show, width: int) -> None:
    paths = revive(runs / "tiny-run")

    async def script(person: Person) -> None:
        screen = await opened(person)
        await person.press("1")
        await person.sees("esc back  S stop  U resume  C certify  l logs", "? help  q quit")
        if width > 80:
            await person.sees("z enlarge  + - zoom  ← → crosshair  < > pan  s smooth  L log axis  0 reset")
        await person.press("S")
        await person.sees("Stop tiny-run?")
        await person.press("escape", "l")
        await person.sees("started attempt 1", "f follow")
        await person.press("escape")
        assert person.app.screen is screen and not paths.stop_request(2).exists()

    show(runs, script, first="tiny-run", size=(width, 24))


def test_a_chart_that_a_small_terminal_leaves_out_is_shown_where_it_is_asked_for(
    runs: Path, show: Show
) -> None:
    async def script(person: Person) -> None:
        screen = await opened(person)
        for key, title in (("4", "mixing coefficient"), ("3", "┌ p "), ("1", "certified accuracy")):
            await person.press(key)
            await person.sees(title)
            assert isinstance(screen.focused, Chart) and screen.focused.region
        await person.press("4", "escape")
        await person.sees("┌ certified", "┌ loss")
        await person.until(lambda: screen.focused is None)  # nothing is in focus that cannot be seen
        await person.pilot.resize_terminal(100, 30)
        await person.press("5")
        await person.sees("┌ devices")
        assert screen.focused is screen.query_one(RunCharts).chart("devices")
        await person.pilot.resize_terminal(68, 12)
        await person.until(lambda: screen.focused is None)

    show(runs, script, first="tiny-run", size=(68, 12))


def test_all_charts_share_the_crosshair(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await opened(person)
        await person.press("2", "left", "left")
        crosshairs = {screen.query_one(RunCharts).chart(name).crosshair for name in NAMES}
        assert len(crosshairs) == 1 and None not in crosshairs

    show(runs, script, first="tiny-run")


def test_the_log_is_read_over_the_whole_screen_and_goes_on(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")

    async def script(person: Person) -> None:
        screen = await opened(person)
        await person.press("l")
        await person.sees("started attempt 1", "test epoch 1", "finished", "f follow")
        with paths.rank_log(2, 0).open("a") as log:
            log.write("a new line\n" * 100 + "the last line\n")
        await person.sees("the last line")  # it stays at the end
        await person.press("home")
        await person.sees("started attempt 1")
        with paths.rank_log(2, 0).open("a") as log:
            log.write("another one\n")
        await person.until(lambda: "another one" in history_lines(screen.model)[-1].plain)
        await person.pilot.pause(0.3)
        assert "another one" not in person.screen()  # nobody is torn from what one reads
        await person.press("f")
        await person.sees("another one")
        await person.press("escape")
        assert person.app.screen is screen

    show(runs, script, first="tiny-run")


def test_what_happens_while_the_log_is_being_opened_is_in_it(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await opened(person)
        screen.show_log()
        assert isinstance(log := person.app.screen, TextScreen)
        log.show([*history_lines(screen.model), Content("just now")])  # before a single widget of it is there
        await person.sees("finished", "just now")

    show(runs, script, first="tiny-run")


def test_the_recipe_is_read_with_every_value(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        await opened(person)
        await person.press("y")
        await person.sees("recipe, with every value", "name: tiny", "begin_epoch: 0.5")

    show(runs, script, first="tiny-run")


@pytest.mark.parametrize("width", [38, 58, 78, 98, 118, 158])
def test_of_a_stop_the_last_stages_are_told_in_full_at_every_width(width: int) -> None:
    stop = StopStages(
        attempt=1, by="a friend", requested=0.0, deadline_s=1.0, seen=1.0, saved_step=None, exited=2.0,
        killed=True,
    )  # fmt: skip
    line = stop_line(stop, width)
    assert line.cell_length <= max(width, 42) and line.plain.endswith("✓ exited  ✗ ended at once")
    assert ("asked" in line.plain) == (width >= 58) and ("by a friend" in line.plain) == (width == 158)


def test_the_stages_of_a_stop_are_told_as_they_are_reached(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")

    def happened(event: str) -> None:
        append(paths.events, EventRecord(attempt=2, step=33, time=time.time(), event=event))  # type: ignore[arg-type]

    async def script(person: Person) -> None:
        await opened(person)
        write_record(paths.stop_request(2), StopRequest(attempt=2, time=time.time(), by="a friend"))
        await person.sees("◐ stopping", "✓ asked", "· seen by the ranks", "· saved", "· exited", "S end now")
        happened("stop-seen")
        await person.sees("✓ seen by the ranks", "· saved")
        happened("stopped")
        await person.sees("✓ saved step 33", "· exited")
        write_record(paths.exit, ExitRecord(attempt=2, outcome="stopped", code=0, time=time.time()))
        await person.sees("■ stopped", "✓ exited", "U resume")

    show(runs, script, first="tiny-run")


def test_stopping_asks_first_and_asks_again_before_it_ends_a_run_at_once(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")

    async def script(person: Person) -> None:
        screen = await opened(person)
        await person.press("S")
        await person.sees("Stop tiny-run?", "It saves a checkpoint")
        await person.press("escape")
        assert person.app.screen is screen and not paths.stop_request(2).exists()
        await person.press("S", "enter")
        await person.until(paths.stop_request(2).exists)
        await person.sees("◐ stopping")
        await person.press("S")
        await person.sees("End tiny-run at once?", "killed without saving")
        await person.press("n")
        assert not paths.kill_request(2).exists()

    show(runs, script, first="tiny-run")


def test_a_run_of_many_epochs_leaves_room_for_its_time(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")
    meta = read_record(paths.meta, MetaRecord)
    assert meta is not None
    write_record(paths.meta, structs.replace(meta, epochs=10_000_000))

    async def script(person: Person) -> None:
        await opened(person)
        append(paths.metrics, structs.replace(train_record(paths), attempt=2, epoch=12345.6))
        await person.sees("12345.6/10000000")
        assert person.line("12345.6/").rstrip().endswith("attempt 2") and "  0%  " in person.line("12345.6/")

    show(runs, script, first="tiny-run", size=(80, 24))


def test_news_of_an_earlier_following_are_not_told_twice(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await opened(person)
        known = len(screen.model.events)
        late = RunFollower(screen.paths).poll()
        assert late is not None and late.events
        person.app.post_message(PollerNews(RunGrew(Following(screen.paths), late)))
        await person.pilot.pause(0.2)
        assert known and len(screen.model.events) == known

    show(runs, script, first="tiny-run")


def test_the_list_below_is_brought_up_to_date_when_it_is_seen_again(
    runs: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is covered is not repainted: Textual would repaint what covers it."""

    async def script(person: Person) -> None:
        await opened(person)
        below = person.app.screen_stack[1]
        assert isinstance(below, RunsScreen)
        shutil.copytree(runs / "tiny-run", runs / "other")
        await person.until(lambda: len(person.app.rows) == 2)
        await person.pilot.pause(0.2)
        assert len(below.table.rows) < 2
        await person.press("escape")
        assert len(below.table.rows) == 2

    show(runs, script, first="tiny-run")


def test_a_run_that_is_left_is_followed_no_longer(runs: Path, show: Show) -> None:
    async def script(person: Person) -> None:
        screen = await opened(person)
        known = len(screen.model.events)
        await person.press("escape")
        append(screen.paths.events, EventRecord(attempt=1, step=1, time=0.0, event="warning"))
        await person.pilot.pause(1.0)
        assert len(screen.model.events) == known
        await person.press("enter")
        await person.until(lambda: len(screen_of(person).model.events) == known + 1)  # read anew

    show(runs, script, first="tiny-run")


def test_a_run_beneath_another_goes_on(runs: Path, show: Show) -> None:
    paths = revive(runs / "tiny-run")
    shutil.copytree(runs / "tiny-run", runs / "other")

    async def script(person: Person) -> None:
        below = await opened(person)
        await person.press("l")  # its log goes on as well
        await person.sees("finished")
        known = len(below.model.events)
        person.app.open_run(RunPaths(runs / "other"))
        await person.sees("■ stopped  other")  # a copy of a run that is going on
        await person.press("escape")
        append(
            paths.events, EventRecord(attempt=2, step=1, time=time.time(), event="warning", message="news")
        )
        await person.sees("warning news")
        assert person.screen().count("started") == 1
        await person.press("escape")
        await person.sees("● running  tiny-run", "warning news")
        assert len(below.model.events) == known + 1 and below.model.curves.series["loss"].x[-1] == 3.0
        await person.press("escape")
        assert isinstance(person.app.screen, RunsScreen)
        assert person.app.poller.followed == ()

    show(runs, script, first="tiny-run", size=(120, 40))


def test_a_run_made_again_under_the_same_name_is_shown_from_its_beginning(runs: Path, show: Show) -> None:
    paths = RunPaths(runs / "tiny-run")
    shutil.copytree(paths.root, runs / "kept")
    for record in (RunPaths(runs / "kept").metrics, RunPaths(runs / "kept").events):
        record.write_bytes(record.read_bytes().splitlines(keepends=True)[0])

    async def script(person: Person) -> None:
        screen = await opened(person)
        await person.until(lambda: len(screen.model.events) > 1)
        shutil.rmtree(paths.root)
        (runs / "kept").rename(paths.root)
        await person.until(lambda: len(screen.model.events) == 1)
        assert len(screen.model.curves.series["loss"]) == 1
        await person.until(lambda: "started" in person.screen() and "warning" not in person.screen())

    show(runs, script, first="tiny-run", size=(120, 40))
