"""A user's own folder of data is checked and never filled; a glance at it costs nothing."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mirrors import CONTENT, Mirror, leftovers

from linftui.data.download import RemoteFile, ensure, status
from linftui.errors import DataError


class TestRoot:
    """A user's own folder: checked, never filled."""

    @pytest.fixture(autouse=True)
    def folder(self, toy: RemoteFile, mirror: Mirror, tmp_path: Path) -> Iterator[None]:
        self.root = tmp_path / "mine"
        self.root.mkdir()
        yield
        assert mirror.requests == [] and leftovers(self.root) <= {"toy.bin"}

    def test_a_good_file_is_taken_as_it_is(self) -> None:
        (self.root / "toy.bin").write_bytes(CONTENT)
        assert ensure("toy", self.root) == self.root

    def test_a_home_folder_is_expanded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(self.root.parent))
        (self.root / "toy.bin").write_bytes(CONTENT)
        assert ensure("toy", Path("~/mine")) == self.root

    def test_a_missing_file_is_named(self) -> None:
        with pytest.raises(DataError, match=r"mine/toy\.bin is missing"):
            ensure("toy", self.root)

    def test_a_file_with_the_wrong_checksum_is_named(self) -> None:
        (self.root / "toy.bin").write_bytes(CONTENT[::-1])
        with pytest.raises(DataError, match=r"mine/toy\.bin .*wrong sha256 checksum"):
            ensure("toy", self.root)

    def test_something_that_is_no_file_is_named(self) -> None:
        (self.root / "toy.bin").mkdir()
        with pytest.raises(DataError, match=r"mine/toy\.bin cannot be read"):
            ensure("toy", self.root)

    @pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
    def test_what_has_no_end_is_not_read(self, put: Callable[[Path], object]) -> None:
        put(self.root / "toy.bin")
        assert "it is not a regular file" in str(status("toy", self.root).problem)
        with pytest.raises(DataError, match=r"mine/toy\.bin cannot be read \(it is not a regular file\)"):
            ensure("toy", self.root)

    def test_terabytes_of_nothing_are_not_read(self) -> None:
        (self.root / "toy.bin").write_bytes(CONTENT)
        os.truncate(self.root / "toy.bin", 4 << 40)
        with pytest.raises(DataError, match=f"it has {4 << 40} bytes, not {len(CONTENT)}"):
            ensure("toy", self.root)

    def test_a_link_to_a_good_file_is_as_good(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").write_bytes(CONTENT)
        (self.root / "toy.bin").symlink_to(tmp_path / "elsewhere")
        assert ensure("toy", self.root) == self.root


class TestStatus:
    """A glance: no network, no hashing, no writing."""

    def test_missing_files_are_a_problem_and_nothing_is_created(
        self, toy: RemoteFile, mirror: Mirror, cache: Path
    ) -> None:
        seen = status("toy", None)
        assert (seen.dataset, seen.present, seen.path) == ("toy", False, cache)
        assert seen.problem == f"{cache / 'toy.bin'} is missing"
        assert mirror.requests == [] and not cache.parent.exists()

    def test_a_short_file_is_a_problem(self, toy: RemoteFile, tmp_path: Path) -> None:
        (tmp_path / "toy.bin").write_bytes(CONTENT[:7])
        assert f"has 7 bytes, not {len(CONTENT)}" in str(status("toy", tmp_path).problem)

    def test_present_files_are_not_read(self, toy: RemoteFile, tmp_path: Path) -> None:
        (tmp_path / "toy.bin").write_bytes(CONTENT[::-1])
        assert status("toy", tmp_path).present
