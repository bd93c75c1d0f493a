"""What happened in a run is told in order of time, however it was read, and at its end how the run ended."""

import time
from pathlib import Path

import pytest
from msgspec import structs
from support.person import append
from support.stand_ins import revive

from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_all
from linftui.rundir.records import EvalRecord, EventRecord, ExitRecord
from linftui.rundir.writer import write_record
from linftui.tui.live import run_follower, run_history
from linftui.tui.live.run_follower import RunFollower
from linftui.tui.live.run_model import RunModel
from linftui.tui.widgets.history_lines import entry_line, history_lines


class Reader:
    """Somebody who follows a run."""

    def __init__(self, paths: RunPaths) -> None:
        self.model, self._following = RunModel(paths), RunFollower(paths)

    def lines(self) -> list[str]:
        """All that is told by now."""
        while (news := self._following.poll()) is not None:
            self.model.add(news)
        return [line.plain for line in history_lines(self.model)]


def event(name: str, moment: float, message: str = "", attempt: int = 1) -> EventRecord:
    return EventRecord(attempt=attempt, step=36, time=moment, event=name, message=message)  # type: ignore[arg-type]


def test_a_run_that_is_read_in_pieces_is_told_as_one_that_is_read_at_once(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(runs / "tiny-run")
    at_once = Reader(paths).lines()
    monkeypatch.setattr(run_follower, "CHUNK", 1000)  # events are fewer, and read long before the metrics
    assert Reader(paths).lines() == at_once
    assert at_once[0].endswith("started attempt 1 at step 0")
    *others, finished, log, ending = at_once
    assert finished.endswith("finished 36 steps") and log == "     log finished at step 36"
    assert ending[8:].startswith(" attempt 1 finished")
    times = [line[:8] for line in others]
    assert times == sorted(times) and sum(" test epoch " in line for line in others) == 3
    monkeypatch.setattr(run_history, "KEPT", 3)
    assert Reader(paths).lines() == at_once[-5:]  # the newest are kept, not those that were read last


def test_what_comes_late_is_told_where_it_belongs(runs: Path) -> None:
    paths = revive(runs / "tiny-run")
    reader, now = Reader(paths), time.time()
    reader.lines()
    append(paths.events, event("stopped", now, "saved", attempt=2))
    assert reader.lines()[-1].endswith("stopped saved")
    evaluation = next(record for record in read_all(paths) if isinstance(record, EvalRecord))
    append(paths.metrics, structs.replace(evaluation, attempt=2, epoch=4.0, time=now - 0.001))
    assert [" test epoch 4" in line for line in reader.lines()[-2:]] == [True, False]
    with paths.rank_log(2, 0).open("a") as log:
        log.write("stopped at step 36\n")
    assert reader.lines()[-1] == "     log stopped at step 36"
    append(paths.events, event("warning", time.time() + 1, "later", attempt=2))
    assert reader.lines()[-2] == "     log stopped at step 36"


def test_a_later_attempt_is_told_later_though_the_clock_was_set_back(runs: Path) -> None:
    paths = revive(runs / "tiny-run")
    append(paths.events, event("resumed", 5.0, "in the year 1970", attempt=2))
    with paths.rank_log(2, 0).open("a") as log:
        log.write("loaded\n")
    *earlier, resumed, loaded = Reader(paths).lines()
    assert (resumed[8:], loaded) == (" resumed in the year 1970", "     log loaded")
    assert any(line.endswith("finished 36 steps") for line in earlier)


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (ExitRecord(attempt=1, outcome="failed", code=1, time=1e9, message="no\x1broom", hint="free some"),
         " attempt 1 failed: no\ufffdroom; free some"),
        (ExitRecord(attempt=1, outcome="stopped", code=0, time=1e9), " attempt 1 stopped"),
        (None, " attempt 1 crashed: its processes are gone and left no message"),
    ],
)  # fmt: skip
def test_the_last_line_says_how_it_ended(runs: Path, ended: ExitRecord | None, said: str) -> None:
    paths = RunPaths(runs / "tiny-run")
    append(paths.events, event("warning", 4e9, "the clock was wrong"))
    paths.exit.unlink()
    if ended is not None:
        write_record(paths.exit, ended)
    last = Reader(paths).lines()[-1]
    assert last[8:] == said and last.startswith(" " * 8) == (ended is None)


def test_a_run_that_goes_on_has_no_last_line(runs: Path) -> None:
    reader = Reader(revive(runs / "tiny-run"))
    assert reader.lines()[-1].endswith("finished 36 steps")  # of its first attempt
    assert not any("attempt 1 finished" in line for line in reader.lines())


def test_a_long_log_does_not_push_out_what_else_happened(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_history, "KEPT", 20)
    paths = RunPaths(runs / "tiny-run")
    paths.rank_log(1, 0).write_text("noise\n" * 100)
    lines = Reader(paths).lines()
    assert lines.count("     log noise") == 20 and any("started attempt 1" in line for line in lines)
    append(paths.metrics, *[structs.replace(read_all(paths)[-1], time=4e9)] * 30)
    lines = Reader(paths).lines()
    assert sum(" test epoch " in line for line in lines) == 20 and "     log noise" in lines


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_no_moment_puts_nothing_else_out_of_order(runs: Path, moment: float) -> None:
    paths = RunPaths(runs / "tiny-run")
    before = Reader(paths).lines()
    append(paths.events, event("warning", moment, "strange"))
    assert Reader(paths).lines() == ["--:--:-- warning strange", *before]


def test_the_last_lines_are_the_end_of_all_of_them_and_are_made_once(runs: Path) -> None:
    reader = Reader(RunPaths(runs / "tiny-run"))
    lines = reader.lines()
    for last in (1, 2, len(lines), len(lines) + 5):
        assert [line.plain for line in history_lines(reader.model, last)] == lines[-last:]
    entry = reader.model.history.entries()[0]
    assert entry_line(entry) is entry_line(entry)
