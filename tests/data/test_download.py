"""Downloads against a real HTTP server on this machine, which can misbehave in the ways that servers do."""

import errno
import io
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mirrors import CONTENT, HALF, Mirror, leftovers, remote, sha256
from support.poor_file_systems import poor_environment

from linftui.data import download
from linftui.data.download import DataFile, RemoteFile, Source, ensure, status
from linftui.errors import DataError

REAL = Path(os.environ.get("LINFTUI_TEST_DATA", Path(__file__).parents[2].parent / "shared/data"))


def test_a_missing_file_is_downloaded_once(toy: RemoteFile, mirror: Mirror, cache: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    assert ensure("toy", None, lambda *report: seen.append(report)) == cache
    assert ensure("toy", None) == cache
    assert (cache / "toy.bin").read_bytes() == CONTENT
    assert mirror.requests == [("toy.bin", None)]
    assert seen[-1] == ("toy.bin", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    assert leftovers(cache) == {"toy.bin"}


WITHOUT_LOCKS = """
import sys
from linftui.data import download
file = download.RemoteFile(sys.argv[1], sys.argv[2], int(sys.argv[3]), (sys.argv[4],))
download.SOURCES["toy"] = download.Source(files=(file,), remotes=(file,))
print(download.ensure("toy", None))
"""


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_downloaded_to(
    toy: RemoteFile, cache: Path, tmp_path: Path, number: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LOCKS, toy.name, toy.hash, str(toy.size), *toy.urls],
        env=poor_environment(tmp_path, flock=number), capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == f"{cache}\n", done.stderr
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_pooch_does_not_log_over_the_terminal(toy: RemoteFile) -> None:
    import pooch

    log = logging.StreamHandler(io.StringIO())
    pooch.get_logger().setLevel("NOTSET")
    pooch.get_logger().addHandler(log)
    ensure("toy", None)
    pooch.get_logger().removeHandler(log)
    assert log.stream.getvalue() == ""


def test_a_connection_cut_half_way_is_continued_from_there(
    toy: RemoteFile, mirror: Mirror, cache: Path
) -> None:
    mirror.cut_after = HALF
    with pytest.raises(DataError, match=r"cannot download toy\.bin: 127\.0\.0\.1:\d+ .*broke off"):
        ensure("toy", None)
    here = (cache / "toy.bin.part").read_bytes()
    assert HALF - 2**16 < len(here) <= HALF and CONTENT.startswith(here)
    assert not (cache / "toy.bin").exists()

    mirror.cut_after, seen = None, []
    ensure("toy", None, lambda _name, done, _total: seen.append(done))
    assert mirror.requests[1:] == [("toy.bin", f"bytes={len(here)}-")]
    assert min(seen) > len(here)
    assert (cache / "toy.bin").read_bytes() == CONTENT
    assert leftovers(cache) == {"toy.bin"}


def test_a_cut_is_noticed_when_the_server_announces_no_length(
    toy: RemoteFile, mirror: Mirror, cache: Path
) -> None:
    mirror.announces_length, mirror.cut_after = False, HALF
    with pytest.raises(DataError, match=rf"broke off \(after {HALF} of {len(CONTENT)} bytes\)"):
        ensure("toy", None)
    assert CONTENT.startswith((cache / "toy.bin.part").read_bytes())


def test_a_server_without_ranges_makes_the_download_start_over(
    toy: RemoteFile, mirror: Mirror, cache: Path
) -> None:
    plant_part(cache, CONTENT[:HALF])
    mirror.knows_ranges = False
    ensure("toy", None)
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_a_server_that_refuses_the_range_makes_the_download_start_over(
    toy: RemoteFile, mirror: Mirror, cache: Path
) -> None:
    plant_part(cache, CONTENT[:HALF])
    mirror.refuses_ranges = True
    ensure("toy", None)
    assert mirror.requests == [("toy.bin", f"bytes={HALF}-"), ("toy.bin", None)]
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(toy: RemoteFile, mirror: Mirror, cache: Path) -> None:
    plant_part(cache, CONTENT + b"more")
    ensure("toy", None)
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_a_part_that_is_already_whole_needs_no_server(toy: RemoteFile, mirror: Mirror, cache: Path) -> None:
    plant_part(cache, CONTENT)
    ensure("toy", None)
    assert mirror.requests == []
    assert leftovers(cache) == {"toy.bin"}


def test_a_part_with_wrong_bytes_is_deleted_and_the_next_attempt_succeeds(
    toy: RemoteFile, mirror: Mirror, cache: Path
) -> None:
    plant_part(cache, b"\0" * HALF)
    with pytest.raises(DataError, match="wrong checksum, which was deleted"):
        ensure("toy", None)
    assert leftovers(cache) == set()
    ensure("toy", None)
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_wrong_bytes_of_the_right_length_are_never_kept(toy: RemoteFile, mirror: Mirror, cache: Path) -> None:
    mirror.files["toy.bin"] = CONTENT[::-1]
    with pytest.raises(DataError, match="wrong checksum, which was deleted"):
        ensure("toy", None)
    assert leftovers(cache) == set()


def test_a_page_in_place_of_the_file_does_not_spoil_the_part(
    toy: RemoteFile, mirror: Mirror, cache: Path
) -> None:
    plant_part(cache, CONTENT[:HALF])
    mirror.files["toy.bin"], mirror.knows_ranges = b"<html>please sign in</html>", False
    with pytest.raises(DataError, match="wrong length"):
        ensure("toy", None)
    assert (cache / "toy.bin.part").read_bytes() == CONTENT[:HALF]


def test_an_answer_that_goes_on_too_long_is_cut_and_refused(
    toy: RemoteFile, mirror: Mirror, cache: Path
) -> None:
    mirror.files["toy.bin"], mirror.announces_length = CONTENT * 20, False
    seen: list[int] = []
    with pytest.raises(DataError, match="wrong checksum"):
        ensure("toy", None, lambda _name, done, _total: seen.append(done))
    assert max(seen) < 2 * len(CONTENT)
    assert leftovers(cache) == set()


def test_a_file_labelled_as_a_compressed_transfer_keeps_its_bytes(
    toy: RemoteFile, mirror: Mirror, cache: Path
) -> None:
    mirror.labels_as_gzip = True
    ensure("toy", None)
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_a_server_that_compresses_on_the_way_is_asked_not_to(
    toy: RemoteFile, mirror: Mirror, cache: Path
) -> None:
    mirror.compresses = True
    ensure("toy", None)
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_the_second_mirror_continues_what_the_first_began(
    mirror: Mirror, toy: RemoteFile, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_part(cache, CONTENT[:HALF])
    file = remote("toy.bin", CONTENT, f"{mirror.url}absent/", mirror.url)
    monkeypatch.setitem(download.SOURCES, "toy", Source(files=(file,), remotes=(file,)))
    ensure("toy", None)
    assert mirror.requests == [(name, f"bytes={HALF}-") for name in ("absent/toy.bin", "toy.bin")]
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_when_every_mirror_fails_one_sentence_says_which_and_what_to_do(
    mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = "http://127.0.0.1:9/"
    file = remote("toy.bin", CONTENT, closed, mirror.url)
    monkeypatch.setitem(download.SOURCES, "toy", Source(files=(file,), remotes=(file,)))
    with pytest.raises(DataError) as caught:
        ensure("toy", None)
    sentence = str(caught.value)
    assert (
        "cannot download toy.bin: 127.0.0.1:9 could not be reached or broke off (Connection refused), "
        in (sentence)
    )
    assert "answered with status 404" in sentence
    assert "data.root" in caught.value.hint
    assert "\n" not in sentence


class TestCauses:
    """What spoils a download is told in the cause's own words, and blamed on nothing else."""

    @pytest.fixture(autouse=True)
    def environment(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        self.cache, self.monkeypatch = cache, monkeypatch

    def refusal(self, url: str, **environment: str) -> str:
        for name, value in environment.items():
            self.monkeypatch.setenv(name, value)
        file = remote("toy.bin", CONTENT, url)
        self.monkeypatch.setitem(download.SOURCES, "toy", Source(files=(file,), remotes=(file,)))
        with pytest.raises(DataError, match=r"^cannot download toy\.bin: ") as refused:
            ensure("toy", None)
        assert leftovers(self.cache) == set() and "\n" not in refused.value.message
        return refused.value.message.partition(" could not be reached")[2]

    def test_certificates_that_are_not_there(self, tmp_path: Path) -> None:
        missing = str(tmp_path / "missing.pem")
        assert self.refusal("https://127.0.0.1:9/", REQUESTS_CA_BUNDLE=missing) == (
            f" or broke off (Could not find a suitable TLS CA certificate bundle, invalid path: {missing})"
        )

    def test_a_server_that_cannot_be_trusted(self, mirror: Mirror, tmp_path: Path) -> None:
        url = mirror.url.replace("http:", "https:")  # which it does not speak
        assert re.fullmatch(r" or broke off \([a-z ]+\)", self.refusal(url))  # OpenSSL's words
        (tmp_path / "none.pem").write_text("no certificate")
        assert self.refusal(url, REQUESTS_CA_BUNDLE=str(tmp_path / "none.pem")) == (
            " or broke off (no certificate or crl found)"
        )

    @pytest.mark.parametrize(
        ("proxy", "cause"),
        [
            ("http://127.0.0.1:9", "Connection refused"),
            (f"http://{'a' * 300}:80", "label too long"),
            ("http://user:secret@127.0.0.1:99999", "Failed to parse its address"),
            ("http://user:p@secret@127.0.0.1:99999", "Failed to parse its address"),
            ("http://user:secret/x@127.0.0.1:1", "Failed to parse its address"),
            (
                "gopher://127.0.0.1:9",
                "Proxy URL had unsupported scheme gopher, should use http:// or https://",
            ),
        ],
    )
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_proxy_that_does_not_work(self, scheme: str, proxy: str, cause: str) -> None:
        told = self.refusal(f"{scheme}://mirror.invalid/", **{f"{scheme}_proxy": proxy})
        assert told.startswith(" through the environment's proxy or broke off (")
        assert told.endswith(f"{cause})") and "secret" not in told

    def test_a_proxy_that_wants_to_know_who_asks(self, mirror: Mirror) -> None:
        told = self.refusal("https://mirror.invalid/", https_proxy=mirror.url)  # it knows GET alone
        assert told.startswith(
            " through the environment's proxy or broke off (Tunnel connection failed: 501 "
        )

    def test_what_has_many_words_is_cut(self) -> None:
        told = self.refusal("http://mirror.invalid/", http_proxy=f"{'g' * 5000}://127.0.0.1:9")
        assert told.endswith("gg...)") and len(told) < 300

    def test_a_disk_that_refuses_is_not_the_networks_fault(self, mirror: Mirror) -> None:
        mirror.files["toy.bin"] = CONTENT
        (self.cache / "toy.bin.part").mkdir(parents=True)  # in the place of what is to be written
        file = remote("toy.bin", CONTENT, mirror.url)
        self.monkeypatch.setitem(download.SOURCES, "toy", Source(files=(file,), remotes=(file,)))
        with pytest.raises(DataError, match="cannot write the data cache .*LINFTUI_CACHE"):
            ensure("toy", None)


def test_a_damaged_file_in_the_cache_is_replaced(toy: RemoteFile, mirror: Mirror, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "toy.bin").write_bytes(CONTENT[::-1])
    ensure("toy", None)
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_two_downloads_at_once_ask_the_server_once(toy: RemoteFile, mirror: Mirror, cache: Path) -> None:
    mirror.delay_s = 0.2
    threads = [threading.Thread(target=ensure, args=("toy", None)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mirror.requests == [("toy.bin", None)]
    assert (cache / "toy.bin").read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_named(
    toy: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LINFTUI_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot write the data cache .*LINFTUI_CACHE"):
        ensure("toy", None)


class TestSharedCache:
    """A cache where somebody else has put things before."""

    @pytest.fixture(autouse=True)
    def victim(self, toy: RemoteFile, cache: Path, tmp_path: Path) -> Iterator[None]:
        cache.mkdir(parents=True)
        self.victim = tmp_path / "victim"
        self.victim.write_bytes(b"mine")
        yield
        assert self.victim.read_bytes() == b"mine"

    def test_a_lock_that_leads_elsewhere_is_refused(self, cache: Path) -> None:
        (cache / ".lock").symlink_to(self.victim)
        with pytest.raises(DataError, match="cannot write the data cache .*LINFTUI_CACHE"):
            ensure("toy", None)

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's link")
    def test_a_folder_that_another_user_leads_elsewhere_is_refused(
        self, toy: RemoteFile, mirror: Mirror, cache: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "elsewhere"
        other.mkdir()
        (other / "toy.bin").write_text("mine")
        shutil.rmtree(cache)
        cache.symlink_to(other)
        os.lchown(cache, 65534, 65534)
        with pytest.raises(DataError, match="is a link that belongs to another user; set LINFTUI_CACHE"):
            ensure("toy", None)
        assert os.listdir(other) == ["toy.bin"] and (other / "toy.bin").read_text() == "mine"
        os.lchown(cache, os.getuid(), os.getgid())  # one's own link is one's own way to say where
        assert ensure("toy", None) == cache and (other / "toy.bin").read_bytes() == CONTENT

    def test_the_lock_is_for_its_owner_alone(self, cache: Path) -> None:
        ensure("toy", None)
        assert stat.S_IMODE((cache / ".lock").stat().st_mode) == 0o600

    @pytest.mark.parametrize("put", ["link", "pipe"])
    def test_a_part_that_is_no_file_is_replaced_not_written_to(self, cache: Path, put: str) -> None:
        part = cache / "toy.bin.part"
        os.mkfifo(part) if put == "pipe" else part.symlink_to(self.victim)
        ensure("toy", None)
        assert (cache / "toy.bin").read_bytes() == CONTENT and leftovers(cache) == {"toy.bin"}

    @pytest.mark.parametrize("put", ["link", "pipe", "terabytes"])
    def test_what_is_in_the_place_of_a_file_is_replaced_without_being_read(
        self, cache: Path, put: str
    ) -> None:
        file = cache / "toy.bin"
        if put == "pipe":
            os.mkfifo(file)
        elif put == "link":
            file.symlink_to(self.victim)
        else:
            file.touch()
            os.truncate(file, 4 << 40)
        ensure("toy", None)
        assert file.read_bytes() == CONTENT and not file.is_symlink()


class TestArchive:
    """A data set "toy" whose two files come in one archive."""

    FILES = {"a.bin": b"first" * 100, "b.bin": b"second" * 100}

    @pytest.fixture(autouse=True)
    def source(self, mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mirror, self.cache, self.monkeypatch = mirror, cache, monkeypatch

    def serve(self, *members: tuple[tarfile.TarInfo, bytes]) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for member, content in members:
                archive.addfile(member, io.BytesIO(content))
        self.mirror.files["toy.tar.gz"] = buffer.getvalue()
        files = tuple(DataFile(name, sha256(content), len(content)) for name, content in self.FILES.items())
        packed = remote("toy.tar.gz", buffer.getvalue(), self.mirror.url)
        self.monkeypatch.setitem(download.SOURCES, "toy", Source(files, (packed,), "toy-bin"))

    @staticmethod
    def member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = len(content), kind, "/etc/hostname"
        return info, content

    def good(self) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [self.member(f"toy-bin/{name}", content) for name, content in self.FILES.items()]

    def test_the_files_are_unpacked_and_nothing_else(self) -> None:
        strangers = [
            self.member("toy-bin/readme.html", b"hello"),
            self.member("../escaped", b"out"),
            self.member(f"{self.cache}/absolute", b"out"),
            self.member("a.bin", b"elsewhere"),
        ]
        self.serve(*strangers, *self.good())
        assert ensure("toy", None) == self.cache
        assert {name: (self.cache / name).read_bytes() for name in leftovers(self.cache)} == self.FILES
        assert not (self.cache.parent / "escaped").exists()

    def test_the_archive_is_asked_for_once_even_by_two(self) -> None:
        self.serve(*self.good())
        self.mirror.delay_s = 0.2
        threads = [threading.Thread(target=ensure, args=("toy", None)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.mirror.requests == [("toy.tar.gz", None)]

    def test_a_link_in_place_of_a_file_is_refused(self) -> None:
        self.serve(self.good()[0], self.member("toy-bin/b.bin", b"", tarfile.SYMTYPE))
        with pytest.raises(DataError, match=r"lacks the official toy-bin/b\.bin"):
            ensure("toy", None)
        assert not (self.cache / "b.bin").is_symlink()

    def test_a_member_with_other_bytes_is_refused(self) -> None:
        self.serve(self.member("toy-bin/a.bin", b"FIRST" * 100), self.good()[1])
        with pytest.raises(DataError, match=r"lacks the official toy-bin/a\.bin"):
            ensure("toy", None)
        assert "a.bin" not in leftovers(self.cache) and "a.bin.part" not in leftovers(self.cache)

    def test_a_member_is_not_unpacked_through_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "victim").write_bytes(b"mine")
        self.cache.mkdir(parents=True)
        (self.cache / "a.bin.part").symlink_to(tmp_path / "victim")
        self.serve(*self.good())
        ensure("toy", None)
        assert (tmp_path / "victim").read_bytes() == b"mine"
        assert {name: (self.cache / name).read_bytes() for name in leftovers(self.cache)} == self.FILES

    def test_a_users_unpacked_archive_is_found_with_or_without_its_folder(self, tmp_path: Path) -> None:
        self.serve(*self.good())
        unpacked = tmp_path / "mine" / "toy-bin"
        unpacked.mkdir(parents=True)
        for name, content in self.FILES.items():
            (unpacked / name).write_bytes(content)
        assert ensure("toy", tmp_path / "mine") == ensure("toy", unpacked) == unpacked


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="the real mnist is not here (LINFTUI_TEST_DATA)")
def test_the_real_mnist_comes_through_a_server(
    mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.files = {path.name: path.read_bytes() for path in (REAL / "mnist").iterdir()}
    here = tuple(replace(file, urls=(mirror.url + file.name,)) for file in download.SOURCES["mnist"].remotes)
    monkeypatch.setitem(download.SOURCES, "mnist", Source(files=here, remotes=here))
    folder = ensure("mnist", None)
    assert folder == cache.parent / "mnist"
    assert {name: (folder / name).read_bytes() for name in leftovers(folder)} == mirror.files


def test_digits_need_no_files(cache: Path) -> None:
    ensure("digits", None)
    assert status("digits", None).present
    assert not cache.parent.exists()


def test_an_unknown_data_set_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(DataError, match="'minst'.*digits, mnist, cifar10"):
        ensure("minst", None)


def test_looking_at_files_imports_nothing_heavy() -> None:
    program = (
        "import sys, linftui.data.download as d; d.SOURCES; "
        "print([m for m in ('torch', 'numpy', 'requests', 'pooch', 'sklearn') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def plant_part(cache: Path, content: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / "toy.bin.part").write_bytes(content)
