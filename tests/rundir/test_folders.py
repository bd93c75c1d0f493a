"""A folder takes another's place whole, on file systems of every kind and killed at any moment."""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.poor_file_systems import mounted, overlaid, poor_environment

from linftui.rundir import folders
from linftui.rundir.folders import finish_replacements, replace_folder

OLD, NEW = {"a": "old", "b": "old", "c": "old"}, {"a": "new", "b": "new", "d": "new"}

# Replaces `target` in one folder after the other, each time killed at the next call that changes something.
KILLED = """
import ctypes, os, sys
from pathlib import Path
from linftui.rundir import folders
from linftui.rundir.folders import finish_replacements, replace_folder

kill_at = ctypes.CDLL(None).kill_at
for n, folder in enumerate(sorted(Path(sys.argv[1]).iterdir()), start=1):
    child = os.fork()
    if child == 0:
        kill_at(n)
        replace_folder(folder / ".draft", folder / "target")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    finish_replacements(folder)
    content = {path.name: path.read_text() for path in (folder / "target").iterdir()}
    left = [path.name for path in folder.iterdir() if path.name not in (".draft", "target")]
    print(n, os.WTERMSIG(status), "".join(sorted(content)), *sorted(set(content.values())), *left)
    if status == 0:
        break
"""


def fill(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an old `target` and a new `.draft`."""
    folder = tmp_path / "folder"
    fill(folder / "target", OLD)
    fill(folder / ".draft", NEW)
    return folder


def test_a_folder_takes_the_place_of_another_and_nothing_else_is_left(folder: Path) -> None:
    replace_folder(folder / ".draft", folder / "target")
    assert content(folder / "target") == NEW and os.listdir(folder) == ["target"]


def test_a_folder_takes_a_name_that_nothing_has(folder: Path) -> None:
    replace_folder(folder / ".draft", folder / "other")
    assert content(folder / "other") == NEW and content(folder / "target") == OLD


def test_a_link_is_replaced_and_what_it_leads_to_stays(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "target")
    replace_folder(folder / ".draft", folder / "link")
    assert content(folder / "link") == NEW and content(folder / "target") == OLD
    assert sorted(os.listdir(folder)) == ["link", "target"] and not (folder / "link").is_symlink()


def test_a_place_that_cannot_be_written_is_an_error_and_keeps_what_it_has(folder: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        replace_folder(folder / "absent", folder / "target")
    assert content(folder / "target") == OLD


def test_finishing_is_nothing_where_nothing_was_begun(folder: Path) -> None:
    finish_replacements(folder)
    finish_replacements(folder / "absent")
    assert content(folder / "target") == OLD and content(folder / ".draft") == NEW


@pytest.mark.parametrize("kind", ["exchange", "no exchange", "no exchange, no locks", "overlay", "tmpfs"])
def test_a_kill_at_any_moment_leaves_one_of_both_whole(tmp_path: Path, kind: str) -> None:
    refused = {"renameat2": errno.EINVAL} if kind.startswith("no exchange") else {}
    if kind.endswith("no locks"):
        refused |= {"flock": errno.ENOLCK, "fsync": errno.EINVAL}
    environment = poor_environment(tmp_path, **refused)
    image, moments = tmp_path / "image", [f"{n:02d}" for n in range(1, 30)]
    for moment in moments if kind != "tmpfs" else []:
        fill(image / moment / "target", OLD)
    with contextlib.ExitStack() as mounts:
        place = image
        if kind == "overlay":
            place = mounts.enter_context(overlaid(image, tmp_path))
        if kind == "tmpfs":
            place = mounts.enter_context(mounted("tmpfs", image))
            for moment in moments:
                fill(place / moment / "target", OLD)
        for moment in moments:
            fill(place / moment / ".draft", NEW)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, place],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    ends = [line.split()[1:] for line in done.stdout.splitlines()]
    assert all(end in (["9", "abc", "old"], ["9", "abd", "new"]) for end in ends[:-1]), ends
    assert ends[0] == ["9", "abc", "old"] and ends[-1] == ["0", "abd", "new"]
    killed = {"exchange": 5, "tmpfs": 5, "overlay": 8}.get(kind, 8)
    assert len(ends) > killed


def test_who_only_holds_the_lock_holds_nobody_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user may lock what they can read."""
    monkeypatch.setattr(folders, "LOCKED_S", 0.2)
    for name in ("new", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    holder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        replace_folder(tmp_path / "new", tmp_path / "target")
    finally:
        os.close(holder)
    assert (tmp_path / "target" / "file").read_text() == "new"


def test_a_name_that_no_folder_of_ours_has_is_let_be(tmp_path: Path) -> None:
    """A stranger's run may hold anything."""
    strange = ["..successor", "...successor", "..predecessor", "...predecessor"]
    for name in strange:
        (tmp_path / name).mkdir()
    finish_replacements(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(strange)


def test_an_old_successor_does_not_replace_what_is_newer(tmp_path: Path) -> None:
    for name, text in ((".target.successor", "old"), ("new", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(text)
    replace_folder(tmp_path / "new", tmp_path / "target")
    finish_replacements(tmp_path)
    assert (tmp_path / "target" / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["target"]
