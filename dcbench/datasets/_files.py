"""Files in the cache: written whole or not at all, downloaded with a time-out, checked by their digest."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

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


def fetch(url: str, digest: str, path: Path, silence_s: float, limit_s: float) -> None:
    """
    Download a file into the cache, unless another process has just done so.

    Parameters
    ----------
    url : str
    digest : str
        SHA-256 that the file must have.
    path : Path
        Where it goes.
    silence_s, limit_s : float
        Longest silence of the server, and longest time in all.

    Raises
    ------
    SpecError
        If it cannot be reached, or gives another file; nothing is kept then.
    """

    def download(file: IO[bytes]) -> None:
        found, deadline = hashlib.sha256(), time.monotonic() + limit_s
        with urllib.request.urlopen(url, timeout=silence_s) as response:
            while block := response.read1(BLOCK_BYTES):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not finished within {limit_s:g} s")
                found.update(block)
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
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or error
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
