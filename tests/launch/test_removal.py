"""Removing a run: all of it, nothing besides it, and never one that somebody is working on."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from msgspec import structs

from linftui.errors import RunDirectoryError, RunStateError
from linftui.launch.lock import sole_supervisor
from linftui.launch.removal import remove_run
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import CertifyTask, MemberRecord, StateRecord
from linftui.rundir.store import RunStore
from linftui.rundir.writer import write_record


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> RunPaths:
    """A copy of a finished run."""
    return RunPaths(Path(shutil.copytree(finished_run, tmp_path / "runs" / "copy")))


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_finished_run_is_removed_and_its_neighbour_is_not(copy: RunPaths) -> None:
    neighbour = shutil.copytree(copy.root, copy.root.with_name("neighbour"))
    before = everything(neighbour)
    remove_run(copy)
    assert not copy.root.exists()
    assert everything(neighbour) == before


@pytest.mark.parametrize("phase", ["starting", "running"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_run_that_is_going_on_is_refused(
    copy: RunPaths, sleeper: subprocess.Popen[bytes], phase: str, elsewhere: bool
) -> None:
    member = describe_process(sleeper.pid, "rank-0")
    assert member is not None
    host = (
        structs.replace(this_host(), boot_id="another boot", name="elsewhere") if elsewhere else this_host()
    )
    write_record(
        copy.state,
        StateRecord(
            attempt=2, phase=phase, host=host, members=[member], devices=["cpu"], threads=1, time=0.0
        ),
    )  # fmt: skip
    before = everything(copy.root)
    with pytest.raises(RunStateError, match=f"copy is {phase}; stop it first"):
        remove_run(copy)
    assert everything(copy.root) == before


def test_a_run_that_is_just_being_started_is_refused(copy: RunPaths) -> None:
    before = everything(copy.root)
    with sole_supervisor(copy), pytest.raises(RunStateError, match="or just being started; stop it first"):
        remove_run(copy)
    assert everything(copy.root) == before


def certifies(paths: RunPaths, process: subprocess.Popen[bytes]) -> None:
    """Makes it look as if this process were certifying the run."""
    logs = paths.certify_logs("20261123-120000-1")
    logs.root.mkdir()
    worker = describe_process(process.pid, "certify")
    assert worker is not None
    write_record(logs.worker, MemberRecord(host=this_host(), process=worker))
    write_record(logs.task, CertifyTask(certificates=["a"], drafts=[".a.draft"], done=0))


def test_a_run_that_is_being_certified_is_refused_until_that_is_over(
    copy: RunPaths, sleeper: subprocess.Popen[bytes]
) -> None:
    certifies(copy, sleeper)
    before = everything(copy.root)
    with pytest.raises(RunStateError, match="copy is being certified; wait for the end of it"):
        remove_run(copy)
    assert everything(copy.root) == before
    sleeper.kill()
    sleeper.wait()
    remove_run(copy)
    assert not copy.root.exists()


def test_links_are_removed_and_not_followed(copy: RunPaths, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_text("mine")
    before = everything(outside)
    (copy.root / "link").symlink_to(outside)
    (copy.checkpoints / "link").symlink_to(outside)
    (copy.checkpoints / "file").symlink_to(outside / "file")
    (copy.root / "loop").symlink_to(copy.root)
    shutil.rmtree(copy.certificates)
    copy.certificates.symlink_to(outside)
    os.mkfifo(copy.root / "pipe")
    remove_run(copy)
    assert not copy.root.exists()
    assert everything(outside) == before and (outside / "file").read_text() == "mine"


@pytest.mark.parametrize("last", [None, "meta.json", "checkpoints", "control", "resolved.yaml", "state.json"])
def test_a_removal_that_was_interrupted_anywhere_can_be_repeated(
    copy: RunPaths, monkeypatch: pytest.MonkeyPatch, last: str | None
) -> None:
    class Killed(BaseException):
        pass

    rmtree, unlink = shutil.rmtree, Path.unlink

    def removing_folder(folder: Path) -> None:
        if folder.name == last:
            raise Killed
        rmtree(folder)

    def removing_file(file: Path) -> None:
        if file.name == last:
            raise Killed
        unlink(file)

    with monkeypatch.context() as broken:
        broken.setattr(shutil, "rmtree", removing_folder)
        broken.setattr(Path, "unlink", removing_file)
        broken.setattr(Path, "rmdir", removing_folder)
        if last is not None:
            with pytest.raises(Killed):
                remove_run(copy)
            assert RunStore(copy.root.parent).find("copy").root == copy.root
    remove_run(copy)
    assert not copy.root.exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may remove anything")
def test_what_cannot_be_removed_is_told_and_still_listed(copy: RunPaths) -> None:
    copy.checkpoints.chmod(0o500)
    with pytest.raises(RunDirectoryError, match="Permission denied"):
        remove_run(copy)
    assert RunStore(copy.root.parent).find("copy").root == copy.root
    copy.checkpoints.chmod(0o700)


def test_a_run_that_was_lost_on_another_host_can_be_removed(copy: RunPaths) -> None:
    host = structs.replace(this_host(), boot_id="another boot", name="elsewhere")
    write_record(
        copy.state,
        StateRecord(
            attempt=2, phase="running", host=host, members=[], devices=["cpu"], threads=1, time=0.0
        ),
    )  # fmt: skip
    long_ago = time.time() - 3600
    for path in (copy.state, copy.metrics, copy.events):
        os.utime(path, (long_ago, long_ago))
    remove_run(copy)
    assert not copy.root.exists()
