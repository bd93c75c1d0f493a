"""Where the public data sets come from, and how they reach this machine undamaged.

Kept apart from the parsers, and free of torch, so that a command can check a data set's files without
paying for tensors. Nothing is trusted until its checksum is right: neither a server's answer, nor a file
in the cache, nor one in a user's own folder. A download that breaks off is resumed the next time.

Pooch keeps the cache, compares the checksums and renames a good file into place. It lacks, and this module
adds, a downloader that resumes, mirrors, and one writer at a time. The cache may be shared, so nothing is
written there through a link, and no file of the wrong kind or size is read.
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from linftui.errors import DataError
from linftui.files import create_file, open_lock, open_regular, open_to_append
from linftui.user_folders import cache_folder, from_home

if TYPE_CHECKING:
    import requests

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes received so far, and the bytes in total."""

_CHUNK_BYTES = 1 << 16  # how much a broken connection loses
_TIMEOUT_S = 30
_LONGEST_CAUSE = 200  # characters


@dataclass(frozen=True)
class DataFile:
    """A file as its publisher made it: `hash` is "sha256:<hex>" or "md5:<hex>", `size` is in bytes."""

    name: str
    hash: str
    size: int


@dataclass(frozen=True)
class RemoteFile(DataFile):
    """A file that can be downloaded; every URL gives the same bytes, and they are tried in order."""

    urls: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A data set's files, and what to download for them: the files themselves, or an archive of them.

    `subfolder` is where the archive has them, and so where a user who unpacked it has them.
    """

    files: tuple[DataFile, ...] = ()
    remotes: tuple[RemoteFile, ...] = ()
    subfolder: str = ""


@dataclass(frozen=True)
class DatasetStatus:
    """What a quick check of a data set's files shows; `problem` is a sentence, or None if all are present."""

    dataset: str
    present: bool
    path: Path
    problem: str | None


def _mnist_file(name: str, sha256: str, size: int) -> RemoteFile:
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    return RemoteFile(name, f"sha256:{sha256}", size, tuple(mirror + name for mirror in mirrors))


def _cifar10_file(name: str, sha256: str) -> DataFile:
    return DataFile(name, f"sha256:{sha256}", 10_000 * (1 + 3 * 32 * 32))


_MNIST = (
    _mnist_file(
        "train-images-idx3-ubyte.gz",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        9_912_422,
    ),
    _mnist_file(
        "train-labels-idx1-ubyte.gz",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        28_881,
    ),
    _mnist_file(
        "t10k-images-idx3-ubyte.gz",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        1_648_877,
    ),
    _mnist_file(
        "t10k-labels-idx1-ubyte.gz",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        4_542,
    ),
)

_CIFAR10 = (
    _cifar10_file("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
    _cifar10_file("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
    _cifar10_file("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
    _cifar10_file("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
    _cifar10_file("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
    _cifar10_file("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
)

_CIFAR10_ARCHIVE = RemoteFile(
    name="cifar-10-binary.tar.gz",
    hash="md5:c32a1d4ab5d03f1284b67883e8d87530",
    size=170_052_171,
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)

SOURCES = {
    "digits": Source(),  # comes with scikit-learn: nothing to download
    "mnist": Source(files=_MNIST, remotes=_MNIST),
    "cifar10": Source(files=_CIFAR10, remotes=(_CIFAR10_ARCHIVE,), subfolder="cifar-10-batches-bin"),
}
DATASETS = tuple(SOURCES)


def ensure(dataset: str, root: Path | None, progress: Progress | None = None) -> Path:
    """Returns the folder that holds the data set's files, every one of them verified.

    With a `root` (a recipe's `data.root`; `~` is expanded) the files must be there, for cifar10 in `root` or
    in `root/cifar-10-batches-bin`; nothing is downloaded or written. Without one they are in the cache, and
    missing or damaged ones are downloaded, with calls of `progress`. Digits come with scikit-learn.

    Raises `DataError` for an unknown data set, a missing or wrong file, or a download that fails.
    """
    source, folder = _locate(dataset, root)
    problem = _first_problem(source, folder, thorough=True)
    if problem and root is not None:
        raise DataError(problem, "put the official file there, or leave data.root out to have it downloaded")
    if problem:
        try:
            _fill(source, folder, progress)
        except OSError as error:
            raise DataError(
                f"cannot write the data cache {folder} ({error.strerror or error})",
                "free some space there, or set LINFTUI_CACHE to another folder",
            ) from error
    return folder


def status(dataset: str, root: Path | None) -> DatasetStatus:
    """A quick check of where `ensure` would look: names and sizes only; no hashing, no network, no writing.

    Raises `DataError` for an unknown data set.
    """
    source, folder = _locate(dataset, root)
    problem = _first_problem(source, folder, thorough=False)
    return DatasetStatus(dataset, problem is None, folder, problem)


def _locate(dataset: str, root: Path | None) -> tuple[Source, Path]:
    if dataset not in SOURCES:
        raise DataError(f"there is no data set named {dataset!r}", f"choose one of {', '.join(DATASETS)}")
    source = SOURCES[dataset]
    if not source.files:
        return source, _folder_of_digits()
    if root is None:
        return source, cache_folder() / dataset
    folder = from_home(root)
    unpacked = folder / source.subfolder
    return source, unpacked if os.path.isdir(unpacked) else folder


def _folder_of_digits() -> Path:
    spec = importlib.util.find_spec("sklearn")  # importing it takes a second
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data"


def _first_problem(source: Source, folder: Path, *, thorough: bool) -> str | None:
    problems = (_problem(folder / file.name, file, thorough=thorough) for file in source.files)
    return next(filter(None, problems), None)


def _problem(path: Path, file: DataFile, *, thorough: bool) -> str | None:
    """A sentence on what is wrong with the file at `path`, or None; `thorough` reads all of it.

    A file of the wrong size is not read at all: it may be terabytes of nothing.
    """
    algorithm, digest = file.hash.split(":")
    try:
        with open_regular(path, follow_links=True) as content:
            size = os.fstat(content.fileno()).st_size
            if size != file.size:
                return f"{path} is not the official file: it has {size} bytes, not {file.size}"
            if thorough and hashlib.file_digest(content, algorithm).hexdigest() != digest:
                return f"{path} is not the official file: it has the wrong {algorithm} checksum"
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror or error})"
    return None


def _fill(source: Source, folder: Path, progress: Progress | None) -> None:
    """Downloads what `folder` lacks; of several processes, one does and the others wait for its files."""
    with _sole_writer(folder):
        if _first_problem(source, folder, thorough=True) is None:
            return  # downloaded by another process while this one waited
        for remote in source.remotes:
            path = _fetch(remote, folder, progress)
            if remote not in source.files:
                _extract(path, source, folder)
                path.unlink()


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    if folder.is_symlink() and folder.lstat().st_uid != os.geteuid():
        raise DataError(
            f"{folder} is a link that belongs to another user", "set LINFTUI_CACHE to a folder of your own"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with open_lock(folder / ".lock") as lock:
        # The kernel drops the lock with the file, so a process that dies leaves none behind.
        with suppress(OSError):  # no locks on this file system: two may download, and the checksum decides
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(remote: RemoteFile, folder: Path, progress: Progress | None) -> Path:
    """Downloads one file into `folder`, from the first mirror that gives the right bytes."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # else it writes to stderr, over the dashboard
    if _problem(folder / remote.name, remote, thorough=False):
        (folder / remote.name).unlink(missing_ok=True)  # pooch would read it, whatever it is
    downloader = _ResumingDownloader(remote, folder / f"{remote.name}.part", progress)
    failures = []
    for url in remote.urls:
        try:
            return Path(pooch.retrieve(url, remote.hash, remote.name, folder, downloader=downloader))
        except requests.HTTPError as error:
            failure = f"answered with status {error.response.status_code}"
        except requests.exceptions.InvalidHeader:
            failure = "offered a file of the wrong length"
        except requests.RequestException as error:
            through = " through the environment's proxy" if _has_proxy(url) else ""
            failure = f"could not be reached{through} or broke off ({_cause(error)})"
        except ValueError:  # pooch's error for a wrong checksum
            failure = "gave a file with the wrong checksum, which was deleted"
        failures.append(f"{urlsplit(url).netloc} {failure}")
    raise DataError(
        f"cannot download {remote.name}: {', '.join(failures)}",
        "check the network and try again (a partial download is kept and resumed), or put the data set's "
        "files in a folder and name it as data.root in the recipe",
    )


def _has_proxy(url: str) -> bool:
    from requests.utils import get_environ_proxies, select_proxy

    return select_proxy(url, get_environ_proxies(url)) is not None


def _cause(error: BaseException) -> str:
    """The message of an error's first cause, on one line, without a proxy's password."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    words = re.sub(r"^(Failed to parse).*", r"\1 its address", words)  # which may hold a password
    words = re.sub(r"^\[\w+: \w+\] | \(_ssl\.c:\d+\)$", "", words)  # what OpenSSL and Python add
    words = re.sub(r"//[^/\s]*@", "//", " ".join(words.split()))
    return words if len(words) <= _LONGEST_CAUSE else words[: _LONGEST_CAUSE - 3] + "..."


@dataclass(frozen=True)
class _ResumingDownloader:
    """A pooch downloader that keeps what it has received in `part`, and asks only for the rest.

    The part may come from several runs and mirrors. Nothing here checks that the pieces fit together: pooch
    compares the checksum of the whole, and deletes the file if it is wrong.
    """

    remote: RemoteFile
    part: Path
    progress: Progress | None

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        start = self._here()
        if start != self.remote.size and not self._request(url, start):
            self._request(url, 0)
        os.replace(self.part, output_file)

    def _here(self) -> int:
        """The number of bytes received before; 0 where there is no regular file."""
        try:
            status = os.lstat(self.part)
        except FileNotFoundError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def _request(self, url: str, start: int) -> bool:
        """Receives the bytes from `start` on; False if the server has no such range (status 416)."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with _get(url, headers) as response:
            if start and response.status_code == 416:
                return False
            response.raise_for_status()
            self._receive(response, start if response.status_code == 206 else 0)
        return True

    def _receive(self, response: "requests.Response", start: int) -> None:
        import requests

        announced = response.headers.get("Content-Length")
        if announced not in (None, str(self.remote.size - start)):
            # Such as a portal's sign-in page: it must not overwrite the part.
            raise requests.exceptions.InvalidHeader(f"Content-Length: {announced}")
        # Some servers label a .gz file as a compressed transfer; unpacking it would spoil the checksum.
        response.raw.headers.pop("Content-Encoding", None)
        received = start
        with open(open_to_append(self.part) if start else create_file(self.part), "ab") as part:
            for chunk in response.iter_content(_CHUNK_BYTES):
                part.write(chunk)
                received += len(chunk)
                if self.progress:
                    self.progress(self.remote.name, received, self.remote.size)
                if received > self.remote.size:
                    break  # the wrong file, perhaps an endless one; its checksum will show it
        if received < self.remote.size:
            raise requests.ConnectionError(f"after {received} of {self.remote.size} bytes")


def _get(url: str, headers: dict[str, str]) -> "requests.Response":
    """Asks a server; every failure to get an answer is a RequestException."""
    import requests

    try:
        return requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S)
    except requests.RequestException:
        raise
    except (OSError, ValueError) as error:  # no such certificates, a proxy's impossible name
        raise requests.ConnectionError(str(error)) from error


def _extract(archive: Path, source: Source, folder: Path) -> None:
    """Unpacks the data set's files, and nothing else that the archive may hold, into `folder`."""
    wanted = {f"{source.subfolder}/{file.name}": file for file in source.files}
    with tarfile.open(archive, "r|gz") as members:
        for member in members:
            file = wanted.get(member.name)
            if file and _save(members, member, folder, file):
                del wanted[member.name]
    if wanted:
        raise DataError(
            f"{archive} lacks the official {', '.join(wanted)}",
            "put the data set's files in a folder and name it as data.root in the recipe",
        )


def _save(members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, file: DataFile) -> bool:
    """Writes a member under a temporary name, and renames it if it is a file with the right bytes."""
    content = members.extractfile(member) if member.isreg() and member.size == file.size else None
    if content is None:
        return False
    temporary = folder / f"{file.name}.part"
    with content, open(create_file(temporary), "wb") as sink:
        shutil.copyfileobj(content, sink)
    if _problem(temporary, file, thorough=True):
        temporary.unlink()
        return False
    os.replace(temporary, folder / file.name)
    return True
