"""Writing a run directory: whole or not at all, whenever the writer dies and however full the disk is."""

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.poor_file_systems import files_of_at_most, mounted, poor_environment

from linftui.errors import RunDirectoryError
from linftui.rundir.records import EventRecord, encode
from linftui.rundir.writer import (
    LineAppender,
    ReservedRecord,
    cannot_write,
    write_atomic,
    write_record,
)

EVENT = EventRecord(attempt=1, step=0, time=0.0, event="started")

WRITE_FOREVER = """
import itertools, sys
from pathlib import Path
from linftui.rundir.writer import write_atomic
for n in itertools.count():
    write_atomic(Path(sys.argv[1]), b"%06d" % n * 20_000)
"""


class TestWriteAtomic:
    def test_a_reader_sees_whole_files_only_while_the_writer_is_killed_again_and_again(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "file"
        write_atomic(path, b"000000" * 20_000)
        for reads in (3, 10, 30, 100):
            writer = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(path)])
            seen, before = 0, path.stat().st_mtime_ns
            while seen < reads:
                data = path.read_bytes()
                assert data == data[:6] * 20_000
                seen += path.stat().st_mtime_ns != before
            writer.kill()
            writer.wait()
            data = path.read_bytes()
            assert data == data[:6] * 20_000

    def test_a_full_disk_leaves_the_old_file_and_no_other(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        write_atomic(path, b"old")
        with files_of_at_most(100), pytest.raises(RunDirectoryError, match="cannot be written"):
            write_atomic(path, b"new" * 100)
        assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("file", b"old")]

    def test_a_rename_that_fails_leaves_no_temporary_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").mkdir()
        with pytest.raises(RunDirectoryError):
            write_atomic(tmp_path / "file", b"data")
        assert [file.name for file in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
    def test_a_file_system_that_syncs_no_folders_is_written_to(self, tmp_path: Path, number: int) -> None:
        command = "import sys; from pathlib import Path; from linftui.rundir.writer import write_atomic\n"
        command += "write_atomic(Path(sys.argv[1]), b'data')"
        subprocess.run(
            [sys.executable, "-c", command, tmp_path / "file"],
            env=poor_environment(tmp_path, fsync=number), check=True,
        )  # fmt: skip
        assert (tmp_path / "file").read_bytes() == b"data"

    def test_a_folder_that_a_failing_disk_cannot_sync_is_an_error(self, tmp_path: Path) -> None:
        command = "import sys; from pathlib import Path; from linftui.rundir.writer import write_atomic\n"
        command += "write_atomic(Path(sys.argv[1]), b'data')"
        done = subprocess.run(
            [sys.executable, "-c", command, tmp_path / "file"],
            env=poor_environment(tmp_path, fsync=errno.EIO), capture_output=True, text=True,
        )  # fmt: skip
        assert "cannot be written: Input/output error" in done.stderr

    @pytest.mark.parametrize("name", ["absent/x", "file/x", "x" * 250])
    def test_a_place_that_cannot_be_written_is_told_in_a_sentence(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(RunDirectoryError, match="cannot be written"):
            write_atomic(tmp_path / name, b"data")

    @pytest.mark.parametrize("put", [os.mkfifo, lambda path: os.link(path.with_name("victim"), path)])
    def test_what_somebody_put_in_the_place_of_the_temporary_file_is_neither_waited_for_nor_written_to(
        self, tmp_path: Path, put: Callable[[Path], object]
    ) -> None:
        (tmp_path / "victim").write_bytes(b"mine")
        put(tmp_path / f".file.{os.getpid()}.tmp")
        write_atomic(tmp_path / "file", b"data")
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"victim": b"mine", "file": b"data"}


class TestLineAppender:
    @settings(deadline=None, max_examples=50)
    @given(data=st.data())
    def test_after_a_kill_at_any_byte_whole_lines_stay_and_new_ones_are_whole(
        self, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.mktemp("log") / "log"
        written = b"first\nsecond\n\nthird\n"
        left = written[: data.draw(st.integers(0, len(written)))]
        path.write_bytes(left)
        log = LineAppender(path)
        log.append(b"fourth")
        log.append(b"fifth")
        log.close()
        mended = left if not left or left.endswith(b"\n") else left + b"\n"
        assert path.read_bytes() == mended + b"fourth\nfifth\n"

    def test_nothing_is_added_before_there_is_something_to_say(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        path.write_bytes(b"torn")
        LineAppender(path).close()
        assert path.read_bytes() == b"torn"

    @pytest.mark.parametrize("target", ["elsewhere", "absent"])
    def test_a_symlink_is_refused(self, tmp_path: Path, target: str) -> None:
        (tmp_path / "elsewhere").write_bytes(b"mine\n")
        (tmp_path / "log").symlink_to(tmp_path / target)
        with pytest.raises(RunDirectoryError, match="log: cannot be written"):
            LineAppender(tmp_path / "log")
        assert (tmp_path / "elsewhere").read_bytes() == b"mine\n"
        assert not (tmp_path / "absent").exists()

    def test_a_pipe_is_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "log")
        with pytest.raises(RunDirectoryError, match="log: cannot be written: it is not a regular file"):
            LineAppender(tmp_path / "log")

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (errno.EACCES, "Permission denied; check the permissions"),
            (errno.EDQUOT, "Disk quota exceeded; free some space"),
            (errno.EEXIST, "File exists"),
        ],
    )
    def test_the_hint_is_for_what_went_wrong(self, number: int, said: str) -> None:
        error = OSError(number, os.strerror(number))
        assert str(cannot_write(Path("x"), error)) == f"x: cannot be written: {said}"

    def test_a_full_disk_is_told_in_a_sentence(self, tmp_path: Path) -> None:
        log = LineAppender(tmp_path / "log")
        with (
            files_of_at_most(2),
            pytest.raises(RunDirectoryError, match="log: cannot be written: File too large; ulimit -f"),
        ):
            log.append(b"line")
        log.close()

    def test_a_full_disk_loses_no_line_before_it_and_none_after_it(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        log = LineAppender(path)
        committed = []
        with files_of_at_most(1000), pytest.raises(RunDirectoryError, match="cannot be written"):
            while True:
                line = b"%03d" % len(committed) * 10
                log.append(line)
                committed.append(line)
        assert len(committed) == 32 and path.stat().st_size == 1000
        log.append(b"after")
        log.close()
        assert path.read_bytes().splitlines() == [*committed, b"032" * 2 + b"03", b"after"]

    def test_a_disk_found_full_while_syncing_is_told_in_a_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")  # as NFS says it, late

        log = LineAppender(tmp_path / "log")
        log.append(b"line")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RunDirectoryError, match="log: cannot be written: No space left on device"):
            log.sync()
        log.close()


class TestReservedRecord:
    def test_what_room_was_kept_for_is_written_when_the_disk_is_full(self, tmp_path: Path) -> None:
        with mounted("tmpfs", tmp_path / "disk", "size=64k") as disk:
            path = disk / "exit.json"
            kept = ReservedRecord(path)
            with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(4096)):
                    pass
            with pytest.raises(RunDirectoryError, match="No space left on device"):
                write_record(path, EVENT)
            kept.write(EVENT)
            assert path.read_bytes() == encode(EVENT) + b"\n"
            assert sorted(file.name for file in disk.iterdir()) == ["exit.json", "filler"]

    def test_no_room_is_said_at_once(self, tmp_path: Path) -> None:
        with files_of_at_most(0), pytest.raises(RunDirectoryError, match="exit.json: cannot be written"):
            ReservedRecord(tmp_path / "exit.json")

    @pytest.mark.parametrize("loss", ["used", "removed", "replaced by a link"])
    def test_where_its_room_is_lost_it_is_written_as_any_other(self, tmp_path: Path, loss: str) -> None:
        path, victim = tmp_path / "exit.json", tmp_path / "victim"
        victim.write_text("untouched")
        kept = ReservedRecord(path)
        [room] = tmp_path.glob(".*")
        if loss == "used":
            kept.write(EVENT)
        else:
            room.unlink()
        if loss == "replaced by a link":
            room.symlink_to(victim)
        kept.write(EVENT)
        assert path.read_bytes() == encode(EVENT) + b"\n" and victim.read_text() == "untouched"

    def test_room_that_is_not_needed_is_given_back(self, tmp_path: Path) -> None:
        ReservedRecord(tmp_path / "exit.json").discard()
        assert list(tmp_path.iterdir()) == []
