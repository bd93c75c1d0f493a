"""Files that somebody prepared: nothing blocks, links lead nowhere they must not, nobody else may write."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from linftui.files import create_file, open_lock, open_regular, open_to_append

NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "victim").write_bytes(b"mine")
    return tmp_path / "victim"


@pytest.fixture
def link(tmp_path: Path, victim: Path) -> Path:
    (tmp_path / "link").symlink_to(victim)
    return tmp_path / "link"


class TestReading:
    def test_a_file_is_read(self, victim: Path) -> None:
        with open_regular(victim) as file:
            assert file.read() == b"mine"

    @pytest.mark.parametrize("follow_links", [False, True])
    def test_neither_a_pipe_nor_a_device_is_opened(self, pipe: Path, follow_links: bool) -> None:
        for path in (pipe, Path("/dev/zero")):
            with pytest.raises(OSError, match="it is not a regular file"):
                open_regular(path, follow_links=follow_links)

    def test_a_folder_is_named_as_what_it_is(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError, match="Is a directory"):
            open_regular(tmp_path)

    def test_a_link_is_followed_only_where_it_may_be_and_not_to_a_pipe(self, link: Path, pipe: Path) -> None:
        with pytest.raises(OSError, match="it is not a regular file"):
            open_regular(link)
        with open_regular(link, follow_links=True) as file:
            assert file.read() == b"mine"
        link.unlink()
        link.symlink_to(pipe)
        with pytest.raises(OSError, match="it is not a regular file"):
            open_regular(link, follow_links=True)


class TestWriting:
    @pytest.mark.parametrize(
        "put",
        [
            lambda path, victim: None,
            lambda path, victim: path.write_bytes(b"old"),
            lambda path, victim: path.symlink_to(victim),
            lambda path, victim: path.hardlink_to(victim),
            lambda path, victim: os.mkfifo(path),
        ],
        ids=["nothing", "file", "link", "hard link", "pipe"],
    )
    def test_a_new_file_takes_the_place_of_whatever_has_its_name(
        self, tmp_path: Path, victim: Path, put: Callable[[Path, Path], object]
    ) -> None:
        path = tmp_path / "new"
        put(path, victim)
        with open(create_file(path), "wb") as file:
            file.write(b"ours")
        assert stat.S_ISREG(path.lstat().st_mode) and path.read_bytes() == b"ours"
        assert victim.read_bytes() == b"mine"

    def test_nothing_is_appended_to_a_link_or_a_pipe(self, link: Path, pipe: Path, victim: Path) -> None:
        for path in (link, pipe):
            with pytest.raises(OSError):
                open_to_append(path)
        assert victim.read_bytes() == b"mine"


class TestLock:
    def test_it_is_for_its_owner_alone_even_one_that_was_not(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        path.touch(0o644)
        open_lock(path).close()
        assert mode(path) == 0o600
        path.unlink()
        open_lock(path).close()
        assert mode(path) == 0o600

    def test_through_a_link_nothing_is_emptied_made_or_given_another_mode(
        self, link: Path, victim: Path
    ) -> None:
        victim.chmod(0o640)
        with pytest.raises(OSError):
            open_lock(link)
        assert (victim.read_bytes(), mode(victim)) == (b"mine", 0o640)
        victim.unlink()
        with pytest.raises(OSError):
            open_lock(link)
        assert not victim.exists()

    @pytest.mark.skipif(os.getuid() != 0, reason="needs root, to act as another user")
    @pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock of util-linux")
    def test_another_user_cannot_hold_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:  # not pytest's own, which is closed to others
            os.chmod(folder, 0o755)
            path = Path(folder) / "lock"
            open_lock(path).close()
            hold = ["flock", "--nonblock", str(path), "true"]
            assert subprocess.run(hold, user=NOBODY, capture_output=True).returncode != 0
            path.chmod(0o644)  # as it was once
            assert subprocess.run(hold, user=NOBODY, capture_output=True).returncode == 0


@pytest.mark.parametrize("opens", [open_lock, open_to_append])
def test_what_has_another_name_elsewhere_is_neither_locked_nor_appended_to(
    tmp_path: Path, opens: Callable[[Path], object]
) -> None:
    """An archive may bring a hard link to a file of whoever unpacks it."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o644)
    os.link(victim, tmp_path / "planted")
    with pytest.raises(OSError, match="it has another name elsewhere"):
        opens(tmp_path / "planted")
    assert victim.read_text() == "mine" and stat.S_IMODE(victim.stat().st_mode) == 0o644


@pytest.mark.parametrize(("umask", "then"), [(0, 0o022), (0o002, 0o022), (0o022, 0o022), (0o077, 0o077)])
def test_nobody_else_may_write_what_a_process_makes_from_then_on(umask: int, then: int) -> None:
    program = "import os; from linftui.files import keep_others_from_writing as keep;"
    program += "keep(); print(os.umask(0))"
    done = subprocess.run([sys.executable, "-c", program], umask=umask, capture_output=True, check=True)
    assert int(done.stdout) == then
