"""A certification that lives on its own, followed through the run directory, whoever wrote what is there."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec import structs
from support.stand_ins import pretend_to_work_for
from support.waiting import PATIENCE_S, wait_for

from linftui.errors import LinftuiError, RunStateError, UsageError
from linftui.launch.certification import (
    Certification,
    CertificationProgress,
    begin_certification,
    certifications,
    stop_certification,
)
from linftui.launch.plan import LaunchPlan
from linftui.rundir.liveness import describe_process, folder_identity, is_alive, this_host
from linftui.rundir.paths import CertifyLogPaths, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import CertificateSummary, CertifyRequest, CertifyTask, ErrorRecord, MemberRecord
from linftui.rundir.writer import write_record

PLAN = LaunchPlan(devices=("cpu",), threads=1)
TENTH = CertifyRequest(eps=["0.1"])
MANY = CertifyRequest(
    eps=[f"0.{n:03}" for n in range(1, 400)]
)  # a second's worth of certificates many times over


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> RunPaths:
    """A copy of a finished run."""
    return RunPaths(Path(shutil.copytree(finished_run, tmp_path / "runs" / "copy")))


@pytest.fixture
def sleeper(copy: RunPaths) -> Iterator[subprocess.Popen[bytes]]:
    """A process that seems to certify it."""
    with pretend_to_work_for(copy, "linftui.worker", "certify") as process:
        yield process


def only(paths: RunPaths) -> CertificationProgress:
    [progress] = certifications(paths)
    return progress


def worker_of(logs: CertifyLogPaths) -> MemberRecord:
    worker = read_record(logs.worker, MemberRecord)
    assert worker is not None
    return worker


@pytest.fixture
def going_on(copy: RunPaths) -> Iterator[CertifyLogPaths]:
    """A certification of hundreds of radii, the first of which is done."""
    logs = begin_certification(copy, PLAN, MANY)
    wait_for(lambda: (task := read_record(logs.task, CertifyTask)) is not None and task.done)
    yield logs
    worker = worker_of(logs).process
    if is_alive(worker):
        os.kill(worker.pid, signal.SIGKILL)


def whole(progress: CertificationProgress) -> list[CertificateSummary]:
    return [summary for _, summary in progress.certificates if summary is not None and summary.complete]


@pytest.mark.slow
def test_it_outlives_whoever_began_it_and_tells_how_it_goes(copy: RunPaths, tmp_path: Path) -> None:
    program = "import sys, pathlib; from linftui.launch.certification import begin_certification\n"
    program += "from linftui.launch.plan import LaunchPlan; from linftui.rundir.paths import RunPaths\n"
    program += "from linftui.rundir.records import CertifyRequest\n"
    program += "request = CertifyRequest(eps=['0.1', '8/255'])\n"
    program += "plan = LaunchPlan(devices=('cpu',), threads=1)\n"
    program += "print(begin_certification(RunPaths(pathlib.Path(sys.argv[1])), plan, request).root)"
    command = [sys.executable, "-c", program, "runs/copy"]
    begun = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, start_new_session=True)
    assert begun.stderr == ""
    progress = only(copy)
    assert progress.logs.root == tmp_path / begun.stdout.strip()
    assert (progress.state, progress.error) == ("running", "")
    process = psutil.Process(worker_of(progress.logs).process.pid)
    assert process.terminal() is None and os.getsid(process.pid) != os.getsid(0)

    wait_for(lambda: only(copy).state != "running")
    progress = only(copy)
    assert (progress.state, progress.error, progress.warnings) == ("done", "", [])
    assert [paths.root.name for paths, _ in progress.certificates] == [
        "step-00000036-eps-0.1", "step-00000036-eps-8_255",
    ]  # fmt: skip
    assert [summary.eps_exact for summary in whole(progress)] == ["0.1", "8/255"]


@pytest.mark.slow
def test_one_that_is_stopped_keeps_what_is_whole_by_then(copy: RunPaths, going_on: CertifyLogPaths) -> None:
    assert only(copy).state == "running"
    stop_certification(copy, going_on)
    wait_for(lambda: not is_alive(worker_of(going_on).process))
    progress = only(copy)
    assert (progress.state, progress.error) == ("failed", "it was stopped before its end")
    assert 1 <= len(whole(progress)) < len(MANY.eps) == len(progress.certificates)
    assert progress.certificates[0][0].curve_png.is_file()
    stop_certification(copy, going_on)  # of one that is gone is no error


@pytest.mark.slow
def test_one_that_is_killed_is_not_said_to_go_on(copy: RunPaths, going_on: CertifyLogPaths) -> None:
    os.kill(worker_of(going_on).process.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(worker_of(going_on).process))
    progress = only(copy)
    assert progress.state == "failed" and not progress.refused
    assert progress.error.startswith(f"it died and left no message; its log is {going_on.log}")


@pytest.mark.slow
def test_one_that_fails_says_why(copy: RunPaths) -> None:
    copy.checkpoint(24).model.write_bytes(b"")
    logs = begin_certification(copy, PLAN, CertifyRequest(eps=["0.1"], checkpoint="24"))
    wait_for(lambda: not is_alive(worker_of(logs).process))
    assert (only(copy).state, only(copy).certificates) == ("failed", [])
    assert only(copy).error == ("checkpoint step-00000024 is damaged: model.safetensors has another SHA-256")
    assert "Traceback" in logs.log.read_text()


@pytest.mark.parametrize(
    ("plan", "checkpoint", "means", "sentence"),
    [
        (PLAN, "7", "running", "copy has no complete checkpoint at step 7; it has: 24, 36"),
        (PLAN, "newest", "running", "--checkpoint 'newest' is not latest, best or a step"),
        (PLAN, "latest", "mine", "--means 'mine' is neither running nor re-estimated"),
        (
            LaunchPlan(devices=("cpu", "cpu"), threads=1), "latest", "running",
            "--devices cpu:2 names 2 devices; a certificate is made on one",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_certified_is_refused_before_a_process_begins(
    copy: RunPaths, plan: LaunchPlan, checkpoint: str, means: str, sentence: str
) -> None:
    request = CertifyRequest(eps=["0.1"], checkpoint=checkpoint, means=means)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as refused:
        begin_certification(copy, plan, request)
    assert str(refused.value) == sentence
    assert certifications(copy) == []


@pytest.mark.slow
def test_one_that_is_held_ends_with_its_holder(copy: RunPaths) -> None:
    held = Certification(copy, PLAN, MANY)
    wait_for(lambda: whole(held.progress()))
    assert held.wait(0.0) is None and held.progress().state == "running"
    held.close()  # as it would be closed if we had died
    assert held.wait(PATIENCE_S) == 0
    assert held.progress().state == "failed" and 1 <= len(whole(held.progress())) < len(MANY.eps)


def folder_of(paths: RunPaths, tag: str, **task: object) -> CertifyLogPaths:
    """The logs of a certification as somebody may have written them."""
    logs = paths.certify_logs(tag)
    logs.root.mkdir()
    facts = {"v": 1, "certificates": [], "drafts": [], "done": 0, **task}
    logs.task.write_text(json.dumps(facts))
    return logs


def test_the_newest_comes_first_and_what_is_no_folder_is_passed_over(copy: RunPaths) -> None:
    assert certifications(copy) == []
    tags = ["20261123-120000-9-1", "20261124-120000-8-1", "20261123-235959-7-1"]
    for tag in tags:
        folder_of(copy, tag)
    copy.certify_logs("20261125-120000").root.write_text("")
    assert [progress.logs for progress in certifications(copy)] == [
        copy.certify_logs(tag) for tag in sorted(tags, reverse=True)
    ]


def test_a_link_to_logs_elsewhere_is_not_followed(copy: RunPaths, tmp_path: Path) -> None:
    folder_of(copy, "1").root.rename(tmp_path / "outside")
    copy.certify_logs("1").root.symlink_to(tmp_path / "outside")
    assert certifications(copy) == []


@pytest.mark.parametrize(
    "name", ["../../victim", "/tmp/victim", "..", "a/b", "", ".", "a\0b", "x" * 300, "a\nb"]
)
@pytest.mark.parametrize("which", ["certificates", "drafts"])
def test_a_name_that_leads_out_of_the_certificates_is_not_followed(
    copy: RunPaths, tmp_path: Path, name: str, which: str
) -> None:
    summary = json.dumps({"somebody": "else's"})
    for folder in (tmp_path / "runs", tmp_path / "runs" / "victim", copy.root, copy.certificates):
        folder.mkdir(exist_ok=True)
        (folder / "summary.json").write_text(summary)  # reading it would be told as damage
    names = {"certificates": ["plain"], "drafts": [".plain.draft"], which: [name]}
    for done in (0, 1):
        progress = structs_of(copy, folder_of(copy, str(done), **names, done=done))
        assert "summary.json" not in progress.error
        assert all(paths.root.parent == copy.certificates for paths, _ in progress.certificates)


def structs_of(paths: RunPaths, logs: CertifyLogPaths) -> CertificationProgress:
    [progress] = [progress for progress in certifications(paths) if progress.logs == logs]
    return progress


@pytest.mark.parametrize(
    ("certificates", "drafts", "done", "state", "known"),
    [
        (["a", "b"], [".a"], 0, "failed", ["a"]),
        (["a"], [".a", ".b"], 0, "failed", ["a"]),
        (["a"], [], 1, "done", []),
        ([], [], 0, "done", []),
        (["a"], [".a"], 7, "failed", ["a"]),
        (["a"], [".a"], -1, "failed", ["a"]),
    ],
)
def test_lists_that_do_not_match_are_no_riddle(
    copy: RunPaths, certificates: list[str], drafts: list[str], done: int, state: str, known: list[str]
) -> None:
    folder_of(copy, "1", certificates=certificates, drafts=drafts, done=done)
    assert only(copy).state == state
    assert [paths.root.name for paths, _ in only(copy).certificates] == known


@pytest.mark.parametrize("file", ["task.json", "worker.json", "error.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"done": "many"}'])
def test_damage_is_told_and_ends_nobody_elses_listing(copy: RunPaths, file: str, content: bytes) -> None:
    folder_of(copy, "1")
    damaged = folder_of(copy, "2")
    (damaged.root / file).write_bytes(content)
    newest, other = certifications(copy)
    assert newest.state == "failed" and f"{file}: cannot be read" in newest.error
    assert other.state == "done"


def test_a_pipe_in_place_of_a_record_blocks_nobody(copy: RunPaths) -> None:
    logs = folder_of(copy, "1")
    logs.task.unlink()
    os.mkfifo(logs.task)
    assert "it is not a regular file" in only(copy).error


def test_only_the_process_that_certifies_is_asked_to_stop(
    copy: RunPaths, sleeper: subprocess.Popen[bytes]
) -> None:
    logs = folder_of(copy, "1", certificates=["a"], drafts=[".a"])
    stop_certification(copy, logs)  # nobody is known
    process = describe_process(sleeper.pid, "certify")
    assert process is not None
    earlier = structs.replace(process, start_time=process.start_time - 1)
    write_record(logs.worker, MemberRecord(host=this_host(), process=earlier))
    stop_certification(copy, logs)
    elsewhere = structs.replace(this_host(), name="elsewhere", boot_id="another boot")
    write_record(logs.worker, MemberRecord(host=elsewhere, process=process))
    with pytest.raises(RunStateError, match="the certification runs on elsewhere; stop it there"):
        stop_certification(copy, logs)
    time.sleep(0.05)  # long enough for a signal to arrive
    assert sleeper.poll() is None
    write_record(logs.worker, MemberRecord(host=this_host(), process=process))
    assert only(copy).state == "running"
    stop_certification(copy, logs)
    assert sleeper.wait() == -signal.SIGTERM


def test_a_bystander_is_spared_whatever_a_prepared_record_says(copy: RunPaths) -> None:
    logs = folder_of(copy, "1", certificates=["a"], drafts=[".a"])
    with subprocess.Popen(["sleep", "600"]) as bystander:
        process = describe_process(bystander.pid, "certify")
        assert process is not None
        write_record(logs.worker, MemberRecord(host=this_host(), process=process))
        stop_certification(copy, logs)
        time.sleep(0.05)
        assert bystander.poll() is None
        bystander.kill()


def test_the_certification_of_a_run_is_not_one_of_its_copy(
    copy: RunPaths, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    process = describe_process(sleeper.pid, "certify")
    assert process is not None
    logs = folder_of(copy, "1", certificates=["a"], drafts=[".a"])
    member = MemberRecord(host=this_host(), process=process, folder=folder_identity(copy.root))
    write_record(logs.worker, member)
    second = RunPaths(shutil.copytree(copy.root, tmp_path / "second"))
    assert (only(copy).state, only(second).state) == ("running", "failed")
    assert only(second).error == "the run was copied while it went on"
    stop_certification(second, only(second).logs)
    time.sleep(0.05)
    assert sleeper.poll() is None


def test_one_that_was_cut_off_by_a_restart_of_the_machine_is_not_going_on(copy: RunPaths) -> None:
    logs = folder_of(copy, "1", certificates=["a"], drafts=[".a"])
    process = describe_process(os.getpid(), "certify")
    assert process is not None
    before = structs.replace(this_host(), boot_id="before the restart")
    write_record(logs.worker, MemberRecord(host=before, process=process))
    assert (only(copy).state, only(copy).error) == (
        "failed", f"it died and left no message; its log is {logs.log}"
    )  # fmt: skip


def test_one_on_another_machine_is_going_on_while_it_writes(copy: RunPaths) -> None:
    logs = folder_of(copy, "1", certificates=["a"], drafts=[".a"])
    process = describe_process(os.getpid(), "certify")
    assert process is not None
    elsewhere = structs.replace(this_host(), name="elsewhere", boot_id="another boot")
    write_record(logs.worker, MemberRecord(host=elsewhere, process=process))
    assert only(copy).state == "running"
    os.utime(logs.task, (0, 0))
    assert only(copy).state == "failed"
    draft = copy.certificate(".a").summary
    draft.parent.mkdir()
    draft.write_text("{}")  # read as damage; what counts here is when
    assert "summary.json: cannot be read" in only(copy).error
    draft.unlink()
    logs.log.touch()
    assert only(copy).state == "running"


@pytest.mark.slow
def test_one_that_cannot_say_who_it_is_does_not_start(
    copy: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_command = LaunchPlan.worker_command

    def with_a_folder_in_the_way(self: LaunchPlan, *arguments: str) -> list[str]:
        # No file can be renamed into the place of a folder.
        Path(arguments[arguments.index("--request") + 1]).with_name("worker.json").mkdir()
        return worker_command(self, *arguments)

    monkeypatch.setattr(LaunchPlan, "worker_command", with_a_folder_in_the_way)
    with pytest.raises(LinftuiError, match="worker.json: cannot be written: Is a directory"):
        begin_certification(copy, PLAN, TENTH)


def test_what_an_earlier_certification_of_that_name_left_is_not_progress(
    copy: RunPaths, sleeper: subprocess.Popen[bytes]
) -> None:
    copy.certificate("a").root.mkdir()
    copy.certificate("a").summary.write_text("{")  # reading it would be told as damage
    logs = folder_of(copy, "1", certificates=["a"], drafts=[".a.draft"])
    process = describe_process(sleeper.pid, "certify")
    assert process is not None
    write_record(logs.worker, MemberRecord(host=this_host(), process=process))
    assert only(copy).certificates == [(copy.certificate("a"), None)]


def test_an_error_is_told_whatever_else_is_known(copy: RunPaths, sleeper: subprocess.Popen[bytes]) -> None:
    logs = folder_of(copy, "1", certificates=["a"], drafts=[".a.draft"])
    record = ErrorRecord(error="OSError", message="no", hint="mend it", exit_code=1, time=0.0)
    write_record(logs.error, record)
    assert (only(copy).state, only(copy).error) == ("failed", "no; mend it")


@pytest.mark.slow
def test_one_that_has_no_room_says_so(finished_run: Path, small_disk: Path) -> None:
    full = RunPaths(Path(shutil.copytree(finished_run, small_disk / "copy")))
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free - 16_384))
    certification = Certification(full, PLAN, TENTH)
    with contextlib.closing(certification):
        while (code := certification.wait(1.0)) is None:
            pass
    failure = certification.failure(code)
    assert failure.message.endswith("cannot be written: No space left on device")
    assert (failure.hint, failure.exit_code) == ("free some space", 1)
    assert only(full).state == "failed" and "No space left on device" in only(full).error

    with contextlib.suppress(OSError):  # no room even for the record of who certifies
        (small_disk / "filler").write_bytes(bytes(free))
    with pytest.raises(LinftuiError, match="No space left on device"):
        begin_certification(full, PLAN, TENTH)
