"""An attempt whose worker is some other program, or none: judged by its exit code, told in a sentence."""

import sys
from pathlib import Path

import pytest
from msgspec import structs
from support.attempts import finish

from linftui.errors import WorkerError
from linftui.launch.plan import LaunchPlan
from linftui.launch.prepare import create_run
from linftui.launch.supervisor import Supervisor
from linftui.recipe.load import load_recipe
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ExitRecord, StateRecord
from linftui.rundir.store import RunStore
from linftui.rundir.writer import write_record


class Script(LaunchPlan):
    """Starts some other program in the worker's place; `{error}` in it is the worker's error file."""

    text = ""

    def worker_command(self, *arguments: str) -> list[str]:
        error = RunPaths(Path(arguments[1])).error(1, 0)
        return [sys.executable, "-c", self.text.replace("{error}", str(error))]


@pytest.mark.parametrize(
    ("text", "outcome", "code", "message"),
    [
        ("raise SystemExit(3)", "crashed", 3, "the training process ended with exit code 3"),
        ("import os; os.abort()", "crashed", -6, "the training process was killed by SIGABRT"),
        (
            "open('{error}', 'w').write('{'); exit(1)",
            "crashed",
            1,
            "the training process ended with exit code 1",
        ),
        ("", "stopped", 0, ""),
    ],
)
def test_a_worker_that_says_nothing_is_judged_by_its_exit_code(
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    outcome: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.setattr(Script, "text", text)
    plan = Script(devices=("cpu",), threads=1)
    paths = create_run(RunStore(tmp_path), load_recipe(tiny_recipe), plan, "run")
    ended = finish(Supervisor(paths, plan))
    assert (ended.outcome, ended.code, ended.message) == (outcome, code, message)
    assert read_record(paths.exit, ExitRecord) == ended


def test_an_attempt_that_a_newer_one_replaced_does_not_say_how_the_run_ended(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    plan = Script(devices=("cpu",), threads=1)
    paths = create_run(RunStore(tmp_path), load_recipe(tiny_recipe), plan, "run")
    supervisor = Supervisor(paths, plan)
    state = read_record(paths.state, StateRecord)
    assert state is not None
    write_record(paths.state, structs.replace(state, attempt=2))
    assert finish(supervisor).outcome == "stopped"
    assert not paths.exit.exists()


def test_a_worker_that_cannot_be_started_is_told_in_a_sentence(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = LaunchPlan(devices=("cpu",), threads=1)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    paths = create_run(RunStore(tmp_path), load_recipe(tiny_recipe), plan, "run")
    with pytest.raises(WorkerError, match="cannot be started: No such file or directory"):
        Supervisor(paths, plan)
