"""Going on with a run: what is refused before anything is begun, and what a person is told of it."""

import shutil
import time
from pathlib import Path

import pytest
from msgspec import structs

from linftui.actions.resume import ResumeRequest, begin, check
from linftui.errors import CheckpointError, DataError, DeviceError, RunDirectoryError, RunStateError
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ExitRecord, StateRecord
from linftui.rundir.state import run_state
from linftui.rundir.writer import write_record


@pytest.fixture
def stopped(runs: Path) -> RunPaths:
    """The run, as if somebody had stopped it."""
    paths = RunPaths(runs / "tiny-run")
    write_record(paths.exit, ExitRecord(attempt=1, outcome="stopped", code=0, time=time.time()))
    return paths


def test_a_run_without_its_recipe_is_refused_whatever_its_state(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    paths.resolved.unlink()
    with pytest.raises(RunDirectoryError, match="resolved.yaml cannot be read"):
        check(ResumeRequest(paths))


def test_it_goes_on_from_the_newest_checkpoint_or_the_one_that_is_named(stopped: RunPaths) -> None:
    assert check(ResumeRequest(stopped)).step == 36
    assert check(ResumeRequest(stopped, checkpoint=24)).step == 24


def test_a_finished_run_goes_on_only_from_a_checkpoint_that_is_named(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    with pytest.raises(RunStateError, match="is finished: there is nothing left to train; certify it with: "):
        check(ResumeRequest(paths))
    assert check(ResumeRequest(paths, checkpoint=24)).step == 24


def test_one_of_which_it_cannot_be_read_how_it_ended_is_not_begun(stopped: RunPaths) -> None:
    stopped.exit.write_text("damaged")
    with pytest.raises(RunDirectoryError, match="exit.json: cannot be read"):
        check(ResumeRequest(stopped))


def test_one_whose_checkpoints_are_all_damaged_is_not_begun(stopped: RunPaths) -> None:
    for checkpoint in stopped.checkpoints.iterdir():
        (checkpoint / "trainer.json").write_text("damaged")
    with pytest.raises(CheckpointError, match="no intact checkpoint to resume from; start a new run"):
        check(ResumeRequest(stopped))


def test_devices_that_are_gone_are_told_with_how_to_choose_others(stopped: RunPaths) -> None:
    state = read_record(stopped.state, StateRecord)
    assert state is not None
    write_record(stopped.state, structs.replace(state, devices=["GPU-gone"]))
    with pytest.raises(DeviceError, match="no GPU GPU-gone here; choose others with: linftui resume "):
        check(ResumeRequest(stopped))
    with pytest.raises(DeviceError, match="use auto, cpu, "):  # those that a person has just chosen
        check(ResumeRequest(stopped, devices="toaster"))
    assert check(ResumeRequest(stopped, devices="cpu")).launch.devices == ("cpu",)


def test_without_its_data_no_attempt_is_begun(stopped: RunPaths, tmp_path: Path) -> None:
    text, data = stopped.resolved.read_text(), tmp_path / "data"
    text = text.replace("dataset: digits", "dataset: mnist").replace("root: null", f"root: {data}")
    data.mkdir()
    stopped.resolved.write_text(text)
    shutil.rmtree(stopped.checkpoints)  # which belong to the recipe as it was
    plan, said = check(ResumeRequest(stopped)), list[str]()
    with pytest.raises(DataError):
        begin(plan, said.append)
    assert said == ["resuming tiny-run", "checking mnist"] and run_state(stopped) == "stopped"


def test_that_it_ends_at_logout_is_told_before(stopped: RunPaths, ends_at_logout: str) -> None:
    assert check(ResumeRequest(stopped)).warnings == (ends_at_logout,)
