"""Files in the cache: written whole or not at all, downloaded within limits, checked by their digest."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import queue
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from dcbench.errors import SpecError, StoreError

BLOCK_BYTES = 2**20


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """
    Write a file so that others see all of it or nothing.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    with _folder_writable(path.parent):
        file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False)  # noqa: SIM115
    with file:
        try:
            write(file)
            with _folder_writable(path.parent):
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink()
            raise


@contextlib.contextmanager
def _folder_writable(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreError(
            f"the cache folder {folder} cannot be written ({error.strerror}); "
            "set DCBENCH_CACHE to another folder"
        ) from error


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follow to other places, never to another kind of place."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse a redirection to a file, or to a connection that is not encrypted."""
        if (scheme := urllib.parse.urlsplit(newurl).scheme) != req.type:
            fp.close()
            raise urllib.error.URLError(f"it redirects from {req.type} to {scheme}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens HTTP and HTTPS, through a proxy where the environment names one, and nothing else."""
    kinds = (
        urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler, _SameScheme,
        urllib.request.HTTPErrorProcessor, urllib.request.HTTPDefaultErrorHandler, urllib.request.UnknownHandler,
    )  # fmt: skip
    opener = urllib.request.OpenerDirector()
    for kind in kinds:
        opener.add_handler(kind())
    return opener


def _blocks(url: str, most_bytes: int, silence_s: float, limit_s: float) -> Iterator[bytes]:
    """Yield what a server gives; it is asked in a thread, as none of its time-outs holds for all of a call."""
    come: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    given_up = threading.Event()

    def ask() -> None:
        size = 0
        try:
            with _opener().open(url, timeout=silence_s) as response:
                while (block := response.read1(BLOCK_BYTES)) and not given_up.is_set():
                    if (size := size + len(block)) > most_bytes:
                        raise urllib.error.URLError(f"it gives more than {most_bytes:,} bytes")
                    come.put(block)
            come.put(b"")
        except Exception as error:  # whoever waits must learn of it
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            come.put(error)

    threading.Thread(target=ask, daemon=True).start()
    deadline = time.monotonic() + limit_s
    try:
        while block := come.get(timeout=max(0.0, deadline - time.monotonic())):
            if isinstance(block, Exception):
                raise block if isinstance(block, OSError) else OSError(f"{type(block).__name__}: {block}")
            yield block
    except queue.Empty:
        raise TimeoutError(f"not finished within {limit_s:g} s") from None
    finally:
        given_up.set()


def fetch(url: str, digest: str, path: Path, most_bytes: int, silence_s: float, limit_s: float) -> None:
    """
    Download a file into the cache, unless another process has just done so.

    Parameters
    ----------
    url : str
        HTTP or HTTPS; a redirection must stay with it.
    digest : str
        SHA-256 that the file must have.
    path : Path
        Where it goes.
    most_bytes : int
        Size beyond which it is refused.
    silence_s, limit_s : float
        Longest silence of the server, and longest time in all.

    Raises
    ------
    SpecError
        If it cannot be reached, or gives another file; nothing is kept then.
    StoreError
        If the folder cannot be written.
    """

    def download(file: IO[bytes]) -> None:
        found = hashlib.sha256()
        for block in _blocks(url, most_bytes, silence_s, limit_s):
            found.update(block)
            with _folder_writable(path.parent):
                file.write(block)
        if found.hexdigest() != digest:
            raise SpecError(
                f"{url} gives a file with SHA-256 {found.hexdigest()[:12]}…, not {digest[:12]}…; "
                "it is not the one expected and was not kept"
            )

    with _lock(path):
        if path.exists():
            return
        try:
            write_atomically(path, download)
        except OSError as error:
            reason = " ".join(str(getattr(error, "reason", None) or error).split())
            raise SpecError(
                f"{url} cannot be downloaded ({reason}); use another dataset or copy it to {path}"
            ) from error


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one process at a time fetch a file."""
    with _folder_writable(path.parent):
        file = path.with_suffix(".lock").open("ab")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
