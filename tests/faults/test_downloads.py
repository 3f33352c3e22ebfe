"""A server that gives a dataset badly: it is refused within limits, nothing is kept, other data are offered."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcbench import SpecError, datasets
from dcbench.datasets import _files, mnist

GOOD = b"what was asked for" * 1000
SILENCE_S, LIMIT_S = 0.3, 1.0


class Handler(http.server.BaseHTTPRequestHandler):
    """Misbehaves as the path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        with contextlib.suppress(ConnectionError):
            getattr(self, f"answer_{self.path.strip('/')}")()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def head(self, length: object, status: int = 200, **more: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **more}.items():
            if value != "None":
                self.send_header(name, value)
        self.end_headers()

    def trickle(self, words: bytes) -> None:
        """Send a little again and again, so that no silence is ever long."""
        while not self.server.ending.wait(0.05):
            self.wfile.write(words)

    def answer_good(self) -> None:
        self.head(len(GOOD))
        self.wfile.write(GOOD)

    def answer_wrong(self) -> None:
        self.head(len(GOOD))
        self.wfile.write(GOOD[::-1])

    def answer_short(self) -> None:
        self.head(2 * len(GOOD))
        self.wfile.write(GOOD[:-1])

    def answer_long(self) -> None:
        self.head(len(GOOD) - 1)
        self.wfile.write(GOOD)

    def answer_nonsense(self) -> None:
        self.wfile.write(b"\x00\xff is not HTTP\r\n\r\n" * 10)

    def answer_silent(self) -> None:
        self.server.ending.wait(60)

    def answer_silent_body(self) -> None:
        self.head(len(GOOD))
        self.server.ending.wait(60)

    def answer_slow(self) -> None:
        self.head(len(GOOD))
        self.trickle(b"x")

    def answer_slow_head(self) -> None:
        self.trickle(b"x")

    def answer_endless(self) -> None:
        self.head(None)
        with contextlib.suppress(OSError):
            while not self.server.ending.is_set():
                self.wfile.write(bytes(2**20))

    def answer_huge(self) -> None:
        self.head(10**15)
        self.trickle(bytes(2**16))

    def answer_missing(self) -> None:
        self.send_error(404)

    def answer_to_file(self) -> None:
        self.head(0, 302, Location="file:///etc/hostname")

    def answer_to_ftp(self) -> None:
        self.head(0, 302, Location="ftp://127.0.0.1/file")

    def answer_to_data(self) -> None:
        self.head(0, 302, Location="data:text/plain,hello")

    def answer_to_https(self) -> None:
        self.head(0, 302, Location="https://127.0.0.1/good")

    def answer_round(self) -> None:
        self.head(0, 302, Location="/round")

    def answer_away(self) -> None:
        self.head(0, 302, Location="/good")


@pytest.fixture
def site() -> Iterator[str]:
    """Serve all that misbehaves; yield its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.ending = threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.ending.set()
        server.shutdown()
        thread.join()


def fetch(url: str, path: Path) -> None:
    digest = hashlib.sha256(GOOD).hexdigest()
    _files.fetch(url, digest, path, most_bytes=2 * len(GOOD), silence_s=SILENCE_S, limit_s=LIMIT_S)


def kept(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.suffix != ".lock"] if folder.exists() else []


@pytest.mark.fault("a server gives a file badly", "refused within limits of time and size; nothing is kept")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("wrong", "SHA-256"),
        ("short", "SHA-256"),
        ("long", "SHA-256"),
        ("nonsense", "BadStatusLine"),
        ("silent", "timed out"),
        ("silent_body", "timed out"),
        ("slow", "not finished within 1 s"),
        ("slow_head", "not finished within 1 s"),
        ("endless", "it gives more than 36,000 bytes"),
        ("huge", "it gives more than 36,000 bytes"),
        ("missing", "Not Found"),
        ("to_file", "not allowed"),
        ("to_ftp", "it redirects from http to ftp"),
        ("to_data", "not allowed"),
        ("to_https", "it redirects from http to https"),
        ("round", "infinite loop"),
    ],
)
def test_a_file_given_badly(site: str, tmp_path: Path, how: str, said: str) -> None:
    begun = time.monotonic()
    with pytest.raises(SpecError, match=said) as refused:
        fetch(f"{site}/{how}", tmp_path / "cache" / "file")
    assert time.monotonic() - begun < 30  # seconds, not the hours of such a server
    assert len(str(refused.value).splitlines()) == 1
    assert kept(tmp_path / "cache") == []


@pytest.mark.parametrize("how", ["good", "away"])
def test_the_file_itself_is_kept(site: str, tmp_path: Path, how: str) -> None:
    fetch(f"{site}/{how}", tmp_path / "cache" / "file")
    assert (tmp_path / "cache" / "file").read_bytes() == GOOD


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:text/plain,hello"])
def test_only_http_is_asked(tmp_path: Path, address: str) -> None:
    with pytest.raises(SpecError, match="unknown url type"):
        fetch(address, tmp_path / "cache" / "file")


@pytest.mark.fault("a dataset's server gives another file", "refused, and the data that need no network offered")
def test_the_bundled_data_are_offered(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "URL", f"{site}/wrong")
    with pytest.raises(SpecError, match=r"not kept; or use dataset 'digits', which needs no network"):
        datasets.load("mnist", {}, tmp_path / "cache", allow_download=True)
    assert kept(tmp_path / "cache") == []
