"""What the tests of downloads and data folders share: a server, a cache of the test's own, a toy data set."""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from mirrors import CONTENT, Handler, Mirror, remote

from linftui.data import download
from linftui.data.download import RemoteFile, Source


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Handler.mirror = Mirror(f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Handler.mirror
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LINFTUI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "toy"


@pytest.fixture
def toy(mirror: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteFile:
    """A data set "toy" of one file, which the server holds."""
    mirror.files["toy.bin"] = CONTENT
    file = remote("toy.bin", CONTENT, mirror.url)
    monkeypatch.setitem(download.SOURCES, "toy", Source(files=(file,), remotes=(file,)))
    return file
