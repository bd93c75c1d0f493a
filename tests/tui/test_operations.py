"""What keys do to runs, without a screen: each says what it does, and refuses in a sentence."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from person import revive

from linftui.devices import snapshot
from linftui.errors import CertificationError, DataError, LinftuiError, RunStateError, UsageError
from linftui.launch.certification import certifications
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import HostRecord, MemberRecord, ProcessRecord
from linftui.rundir.store import RunStore
from linftui.rundir.writer import write_record
from linftui.tui import operations
from linftui.tui.operations import CertifyRequest, LaunchRequest

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_stop_that_somebody_asked_for_already_is_not_asked_for_twice(runs: Path) -> None:
    paths = revive(runs / "tiny-run")
    operations.stop(paths, at_once=False)
    operations.stop(paths, at_once=False)  # the second request would end it at once
    assert paths.stop_request(2).exists() and not paths.kill_request(2).exists()


def test_what_is_not_going_on_cannot_be_stopped(runs: Path) -> None:
    with pytest.raises(RunStateError, match="nothing to stop"):
        operations.stop(RunPaths(runs / "tiny-run"), at_once=False)


def test_what_is_finished_cannot_be_resumed(runs: Path) -> None:
    said: list[str] = []
    with pytest.raises(RunStateError, match="is finished"):
        operations.resume(RunPaths(runs / "tiny-run"), said.append)
    assert said == ["resuming tiny-run"]


def test_a_launch_without_its_data_leaves_no_run_behind(tmp_path: Path) -> None:
    said: list[str] = []
    request = LaunchRequest("mnist-small", (f"data.root={tmp_path}",), "cpu")
    with pytest.raises(DataError):
        operations.launch(RunStore(tmp_path / "runs"), request, said.append)
    assert said == ["checking mnist"] and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "request_",
    [
        LaunchRequest("nowhere"),
        LaunchRequest("digits", ("a",)),
        LaunchRequest("digits", (), "gpu:99"),
        LaunchRequest("digits", name="tiny-run"),
        LaunchRequest("digits", name="../x"),
    ],
)
def test_a_check_refuses_what_a_launch_would(runs: Path, request_: LaunchRequest) -> None:
    store = RunStore(runs)
    with pytest.raises(LinftuiError):
        operations.check(store, request_, snapshot())
    assert operations.check(store, LaunchRequest("digits", ("seed=5",)), snapshot()).recipe.seed == 5


def test_radii_are_exact_and_asked_for_once() -> None:
    def radii(text: str) -> list[Fraction]:
        return operations.radii(CertifyRequest(RunPaths(Path("x")), text))

    assert radii(" 8/255,0.1 , 0.10") == [Fraction(8, 255), Fraction(1, 10)]
    for wrong in ("", "0.1,", "1.5", "-1/2", "eps"):
        with pytest.raises(UsageError, match="^--eps "):
            radii(wrong)


def test_recipes_of_the_folder_hide_those_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def names() -> list[str]:
        return [recipe.name for recipe in operations.known_recipes()]

    along = names()
    (tmp_path / "recipes").mkdir()
    for name in ("digits", "zebra"):
        (tmp_path / "recipes" / f"{name}.yaml").write_text(tiny_recipe.read_text())
    assert names() == ["digits", "zebra", *(name for name in along if name != "digits")]
    assert "digits" in along and "mnist-small" in along


def test_nothing_that_is_certified_is_nothing_to_stop(runs: Path) -> None:
    with pytest.raises(UsageError, match="being certified"):
        operations.stop_certifying(RunPaths(runs / "tiny-run"))


def test_a_certification_on_another_machine_is_not_stopped_from_here(runs: Path) -> None:
    logs = RunPaths(runs / "tiny-run").certify_logs("20260101-000000-1-000000000")
    logs.root.mkdir(parents=True)
    there = HostRecord(name="elsewhere", boot_id="", pid_namespace="")
    process = ProcessRecord(role="certify", pid=1, start_time=1, uid=0)
    logs.log.touch()  # written just now: it goes on
    write_record(logs.worker, MemberRecord(host=there, process=process))
    with pytest.raises(UsageError, match="runs on elsewhere; stop it there"):
        operations.stop_certifying(RunPaths(runs / "tiny-run"))


@pytest.mark.slow
def test_what_is_being_certified_is_not_begun_again(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    many = ",".join(f"{n}/1000" for n in range(1, 400))
    operations.certify(CertifyRequest(paths, many, devices="cpu"), lambda _: None)
    for again in (many, "0.398"):  # also a part of it
        for checkpoint in ("latest", "36"):
            with pytest.raises(UsageError, match="certification of step-00000036 is already running"):
                operations.certify(CertifyRequest(paths, again, checkpoint, devices="cpu"), lambda _: None)
    for other in (CertifyRequest(paths, "0.5"), CertifyRequest(paths, "0.398", means="re-estimated")):
        operations.certify(replace(other, devices="cpu"), lambda _: None)
    assert len(certifications(paths)) == 3
    operations.stop_certifying(paths)


@pytest.mark.slow
def test_one_whose_process_dies_while_it_loads_has_not_begun(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linftui: Command
) -> None:
    (tmp_path / "lib" / "torch").mkdir(parents=True)
    dies = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    (tmp_path / "lib" / "torch" / "__init__.py").write_text(dies)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    paths = RunPaths(runs / "tiny-run")
    with pytest.raises(CertificationError, match="^it died and left no message; .*: Segmentation fault$"):
        operations.certify(CertifyRequest(paths, "0.1", devices="cpu"), lambda _: None)
    assert [progress.refused for progress in certifications(paths)] == [True]
    done = linftui("certify", paths.root, "--devices", "cpu")
    assert done.stderr.startswith("linftui: the certification was killed by SIGSEGV; its log is ")
    assert done.stderr.endswith("which ends with: Fatal Python error: Segmentation fault\n")


@pytest.mark.slow
def test_a_certification_is_stopped_and_what_is_whole_is_kept(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    many = ",".join(f"{n}/1000" for n in range(1, 400))
    operations.certify(CertifyRequest(paths, many, devices="cpu"), lambda _: None)

    def until(state: str, whole: int) -> None:
        deadline = time.monotonic() + 200
        while True:
            [progress] = certifications(paths)
            made = [summary for _, summary in progress.certificates if summary and summary.complete]
            if progress.state == state and len(made) >= whole:
                return
            assert time.monotonic() < deadline, progress
            time.sleep(0.05)

    until("running", 1)
    operations.stop_certifying(paths)
    until("failed", 1)
