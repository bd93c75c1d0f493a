"""Certifying a run: what is refused at once, what goes on already, and what ends it."""

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from linftui.actions.certify import CertifyPlan, begin, certify_request, check, stop
from linftui.devices import snapshot
from linftui.errors import CertificationError, CheckpointError, UsageError
from linftui.launch.certification import certifications
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import CertifyRequest, CertifyTask, HostRecord, MemberRecord, ProcessRecord
from linftui.rundir.writer import write_record

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_radii_are_exact_and_asked_for_once(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    assert certify_request(paths, [" 8/255,0.1 , 0.10", "1/10"]).eps == ["8/255", "0.1"]
    assert certify_request(paths, []).eps == ["0.1"]  # the recipe's
    for wrong in ("", "0.1,", "1.5", "-1/2", "eps"):
        with pytest.raises(UsageError, match="^--eps "):
            certify_request(paths, [wrong])


def test_nothing_that_is_certified_is_nothing_to_stop(runs: Path) -> None:
    with pytest.raises(UsageError, match="no certification of tiny-run is running"):
        stop(RunPaths(runs / "tiny-run"))


def test_a_certification_on_another_machine_is_not_stopped_from_here(runs: Path) -> None:
    logs = RunPaths(runs / "tiny-run").certify_logs("20260101-000000-1-000000000")
    logs.root.mkdir(parents=True)
    there = HostRecord(name="elsewhere", boot_id="", pid_namespace="")
    process = ProcessRecord(role="certify", pid=1, start_time=1, uid=0)
    logs.log.touch()  # written just now: it goes on
    write_record(logs.worker, MemberRecord(host=there, process=process))
    with pytest.raises(UsageError, match="runs on elsewhere; stop it there"):
        stop(RunPaths(runs / "tiny-run"))


def going_on(paths: RunPaths, process: subprocess.Popen[bytes], *names: str, eps: str = "") -> None:
    """Makes it look as if this process certified the run; without names, as if it still loaded."""
    logs = paths.certify_logs("20261123-120000-1")
    logs.root.mkdir()
    worker = describe_process(process.pid, "certify")
    assert worker is not None
    if eps:
        write_record(logs.request, CertifyRequest(eps=eps.split(",")))
    if names:
        drafts = [f".{name}.draft" for name in names]
        write_record(logs.task, CertifyTask(certificates=list(names), drafts=drafts, done=0))
    write_record(logs.worker, MemberRecord(host=this_host(), process=worker))


@pytest.mark.parametrize("loading", [True, False])
def test_what_is_being_certified_is_refused_at_once(
    runs: Path, sleeper: subprocess.Popen[bytes], loading: bool
) -> None:
    paths = RunPaths(runs / "tiny-run")
    names = () if loading else ("step-00000036-eps-0.1", "step-00000036-eps-8_255")
    going_on(paths, sleeper, *names, eps="0.1,8/255")
    for again in (Asked(["0.1"]), Asked(["8/255", "0.1"]), Asked([], "36"), Asked(["0.1"], limit=360)):
        with pytest.raises(UsageError, match="certification of step-00000036 is already running; wait for"):
            again.check(paths)
    others = Asked(["0.1,0.2"]), Asked([], "24"), Asked([], means="re-estimated"), Asked([], limit=50)
    for other in others:
        assert other.check(paths).launch.devices == ("cpu",)
    sleeper.kill()
    sleeper.wait()
    Asked(["0.1"]).check(paths)


@dataclass(frozen=True)
class Asked:
    """What somebody might ask while something is being certified."""

    radii: list[str]
    checkpoint: str = "latest"
    means: str = "running"
    limit: int | None = None

    def check(self, paths: RunPaths) -> CertifyPlan:
        """Asks for it, on the CPU."""
        request = certify_request(paths, self.radii, self.checkpoint, self.means, self.limit)
        return check(paths, request, snapshot(), "cpu")


def test_a_run_without_a_checkpoint_is_refused_before_anything_is_loaded(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    shutil.rmtree(paths.checkpoints)
    with pytest.raises(CheckpointError, match="^tiny-run has no checkpoint to certify$"):
        Asked([]).check(paths)


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
        begin(Asked(["0.1"]).check(paths))
    assert [progress.refused for progress in certifications(paths)] == [True]
    done = linftui("certify", paths.root, "--devices", "cpu")
    assert done.stderr.startswith("linftui: the certification was killed by SIGSEGV; its log is ")
    assert done.stderr.endswith("which ends with: Fatal Python error: Segmentation fault\n")


@pytest.mark.slow
def test_a_certification_is_not_begun_again_and_can_be_stopped_and_what_is_whole_is_kept(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    many = ",".join(f"{n}/1000" for n in range(1, 400))
    plan = Asked([many]).check(paths)
    begin(plan)
    for again in (many, "0.398"):  # also a part of it
        with pytest.raises(UsageError, match="certification of step-00000036 is already running"):
            Asked([again]).check(paths)
    with pytest.raises(UsageError, match="is already running"):
        begin(plan)  # planned before

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
    stop(paths)
    until("failed", 1)
