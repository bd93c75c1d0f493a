"""Removing a run: all of it, nothing besides it, and never one that somebody is working on."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from linftui.actions.remove import disk_usage, remove
from linftui.errors import LinftuiError, RunDirectoryError, RunStateError
from linftui.launch.begin import plan_resume
from linftui.launch.lock import sole_supervisor
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import CertifyTask, MemberRecord, StateRecord
from linftui.rundir.store import RunStore, read_meta
from linftui.rundir.writer import write_record


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> RunPaths:
    """A copy of a finished run."""
    return RunPaths(Path(shutil.copytree(finished_run, tmp_path / "runs" / "copy")))


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_finished_run_is_removed_and_its_neighbour_is_not(copy: RunPaths) -> None:
    assert disk_usage(copy) == sum(path.stat().st_size for path in everything(copy.root) if path.is_file())
    neighbour = shutil.copytree(copy.root, copy.root.with_name("neighbour"))
    before = everything(neighbour)
    remove(copy)
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
        remove(copy)
    assert everything(copy.root) == before


def test_a_run_that_is_just_being_started_is_refused(copy: RunPaths) -> None:
    before = everything(copy.root)
    with sole_supervisor(copy), pytest.raises(RunStateError, match="or just being started; stop it first"):
        remove(copy)
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
    with pytest.raises(RunStateError, match="copy is being certified; wait for it to finish"):
        remove(copy)
    assert everything(copy.root) == before
    sleeper.kill()
    sleeper.wait()
    remove(copy)
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
    remove(copy)
    assert not copy.root.exists()
    assert everything(outside) == before and (outside / "file").read_text() == "mine"


def at_each_change(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """From now on `do` is called before anything is removed or renamed, by whatever means Python has."""
    for name in ("unlink", "rmdir", "rename"):
        original = getattr(os, name)

        def changing(*arguments: Any, original: Any = original, **options: Any) -> None:
            do()
            original(*arguments, **options)

        monkeypatch.setattr(os, name, changing)


def test_a_removal_that_is_interrupted_anywhere_can_be_repeated_or_has_freed_the_name(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    store, finished, repeated = RunStore(tmp_path / "runs"), False, 0
    for survived in range(1000):
        paths = RunPaths(Path(shutil.copytree(finished_run, tmp_path / "runs" / "copy")))
        left = iter(range(survived))

        def count_down(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Killed

        with monkeypatch.context() as deadly:
            at_each_change(deadly, count_down)
            with contextlib.suppress(Killed):
                remove(paths)
                finished = True
        if paths.root.exists():
            assert store.find_exactly("copy").root == paths.root
            with pytest.raises(LinftuiError, match="resolved.yaml") if survived else contextlib.nullcontext():
                plan_resume(paths, checkpoint=24)
            remove(paths)
            repeated += 1
        assert not paths.root.exists() and store.runs() == []
        if finished:
            break
    assert finished and repeated > 20  # files and folders that the run had


def test_nobody_takes_a_run_at_any_moment_of_its_removal(
    copy: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = []

    def take() -> None:
        with pytest.raises(RunStateError) as refused:
            sole_supervisor(copy)
        refusals.append(refused.value.message)

    before = len(everything(copy.root))
    with monkeypatch.context() as watched:
        at_each_change(watched, take)
        remove(copy)
    gone = f"{copy.root} is no longer a run: it was removed"
    assert set(refusals) == {"copy is still running, or just being started", gone}
    assert len(refusals) == before + 2  # the folder itself, and the change of its name
    assert not copy.root.exists()


@pytest.mark.parametrize("damage", [b"not json", b"", b"{}", b"[]", b'{"v": 99}', None])
def test_a_folder_whose_meta_json_is_not_a_runs_is_left_alone(tmp_path: Path, damage: bytes | None) -> None:
    paths = RunPaths(tmp_path / "it's mine")
    paths.root.mkdir()
    (paths.root / "thesis.tex").write_text("years of work")
    if damage is not None:
        paths.meta.write_bytes(damage)
    before = everything(paths.root)
    with pytest.raises(RunDirectoryError) as refused:
        remove(paths)
    assert refused.value.message.startswith(f"{paths.root} was not removed, because it may not be a run: ")
    assert everything(paths.root) == before  # not even a lock is left in it
    remove_by_hand = refused.value.hint.removeprefix("to remove it anyway: ")
    subprocess.run(["sh", "-c", remove_by_hand], check=True)
    assert not paths.root.exists() and tmp_path.exists()


def test_a_run_that_was_renamed_by_its_owner_can_be_removed(copy: RunPaths) -> None:
    renamed = RunPaths(copy.root.rename(copy.root.with_name("a name of my own")))
    assert read_meta(renamed).id == "tiny-run"
    remove(renamed)
    assert not renamed.root.exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may remove anything")
def test_what_cannot_be_removed_is_told_and_still_listed(copy: RunPaths) -> None:
    copy.checkpoints.chmod(0o500)
    with pytest.raises(RunDirectoryError, match="Permission denied"):
        remove(copy)
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
    remove(copy)
    assert not copy.root.exists()
