"""A real HTTP server that misbehaves in the ways that servers do, and a toy data set on it."""

import gzip
import hashlib
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from linftui.data.download import RemoteFile

CONTENT = bytes(range(256)) * 4000
HALF = len(CONTENT) // 2


@dataclass
class Mirror:
    """What the server holds, how it misbehaves, and what it was asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: int | None = None
    knows_ranges: bool = True
    refuses_ranges: bool = False
    announces_length: bool = True
    labels_as_gzip: bool = False
    compresses: bool = False
    delay_s: float = 0.0
    requests: list[tuple[str, str | None]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def do_GET(self) -> None:
        mirror, asked = self.mirror, self.headers.get("Range")
        mirror.requests.append((self.path.strip("/"), asked))
        time.sleep(mirror.delay_s)
        content = mirror.files.get(self.path.strip("/"))
        if content is None:
            return self.send_error(404)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and mirror.knows_ranges else 0
        if start and (mirror.refuses_ranges or start >= len(content)):
            return self.send_error(416)
        compresses = mirror.compresses and "gzip" in self.headers.get("Accept-Encoding", "")
        content = gzip.compress(content) if compresses else content
        self.send_response(206 if start else 200)
        if mirror.announces_length:
            self.send_header("Content-Length", str(len(content) - start))
        if mirror.labels_as_gzip or compresses:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(content[start:][: mirror.cut_after])

    def log_message(self, *_args: object) -> None:
        pass


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def remote(name: str, content: bytes, *mirrors: str) -> RemoteFile:
    return RemoteFile(name, sha256(content), len(content), tuple(url + name for url in mirrors))


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}
