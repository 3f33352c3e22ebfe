"""Files that others may have damaged or planted, read with suspicion: regular ones only, of a known size, whole where
they carry a checksum. It knows nothing of what they hold.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dcbench.errors import StoreError

MOST_BYTES = 2**27
_MOST_PARTS, _MOST_QUOTES = 2 * 10**6, 10**7  # of what fits into those bytes, so that reading it fits into the memory
_SEAL = re.compile(rb', "sha256": "([0-9a-f]{64})"}\s*\Z')
_CHECKED = re.compile(rb',"crc32":(\d{1,10})}\Z')
_ADVICE = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EFBIG: "lift the limit on the size of files (ulimit -f)",
    errno.ENOENT: "leave that folder where it is while a run is under way",
    errno.ENOTDIR: "move the file that is in its way",
    errno.EEXIST: "move the file that is in its way",
}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def advice(number: int | None) -> str:
    """Say what a person can do about an error of a file system."""
    return f"{_ADVICE.get(number or 0, 'make that folder writable')}, or choose another folder"


@contextlib.contextmanager
def explained(doing: str, folder: Path) -> Iterator[None]:
    """Turn an `OSError`, or that a name is none of a file, into the sentence of a `StoreError`."""
    try:
        yield
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        raise StoreError(f"cannot {doing} in {folder}: {found}; {advice(error.errno)}") from error
    except ValueError as error:  # NUL, or half a surrogate pair
        raise StoreError(f"cannot {doing} in {str(folder)!r}: no file can have that name; choose another") from error


def for_person(error: BaseException, folder: Path) -> BaseException:
    """
    Return a `StoreError` where a full disk is behind an error, of whatever library; else the error itself.

    Parameters
    ----------
    error : BaseException
        The causes of which are looked at too.
    folder : Path
        Named where no error says which file it was.

    Examples
    --------
    >>> for_person(RuntimeError("write failed: No space left on device; flush"), Path("runs"))
    StoreError('cannot write in runs: no space left on device; free some space there, or choose another folder')
    """
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, StoreError):
        text = str(seen).lower()
        said = [n for n in FULL if os.strerror(n).lower() in text or getattr(seen, "errno", None) == n]
        if said:
            named = getattr(seen, "filename", None)
            where = Path(named).parent if isinstance(named, str) else folder
            return StoreError(f"cannot write in {where}: {os.strerror(said[0]).lower()}; {advice(said[0])}")
        seen = seen.__cause__ or seen.__context__
    return error


def open_regular(path: str | Path) -> int:
    """
    Open a file for reading, which must be a regular one: a pipe would block, and a device never end.

    Returns
    -------
    int
        A descriptor.

    Raises
    ------
    OSError
        If it cannot be opened; ``FileNotFoundError`` where it is not there.
    StoreError
        If it is no regular file.
    """
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise StoreError(f"{path} is no regular file; it is not read")
    return number


def read_regular(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """Read a regular file of at most `most` bytes; raises as `open_regular`, and a `StoreError` where it is larger."""
    with open(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = (file.read(most + 1) if size <= most else b"") or b""  # None of one that gives its bytes later
    if max(size, len(data)) > most:
        raise StoreError(f"{path} holds {max(size, len(data))} bytes, more than {most}; it is not read")
    return data


def parsed(data: bytes) -> Any:
    """
    Read JSON as written down in its standard: no NaN, and no key twice.

    Raises
    ------
    ValueError, RecursionError

    Examples
    --------
    >>> parsed(b'{"steps": 1, "steps": 2}')
    Traceback (most recent call last):
    ValueError: it has the key 'steps' twice
    """
    if data.count(b"[") + data.count(b"{") > _MOST_PARTS or data.count(b'"') > _MOST_QUOTES:
        raise ValueError("it has more parts than a record")
    return json.loads(data, parse_constant=_refuse, object_pairs_hook=_unique)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"it has the key {twice!r} twice")
    return found


def sealed(content: bytes) -> bytes:
    """Put the checksum of a JSON object in as its last key, ``"sha256"``: of its bytes without that key."""
    return content[:-1] + f', "sha256": "{hashlib.sha256(content).hexdigest()}"}}'.encode()


def check_seal(data: bytes) -> None:
    """
    Compare a file from `sealed` with its checksum; one without it, older or made by hand, passes.

    Raises
    ------
    ValueError
        If something was changed.

    Examples
    --------
    >>> check_seal(sealed(b'{"steps": 100}'))
    >>> check_seal(sealed(b'{"steps": 100}').replace(b"100", b"900"))
    Traceback (most recent call last):
    ValueError: its checksum (sha256, its last key) is of another content
    """
    seal = _SEAL.search(data[-200:])
    if seal is not None:
        content = hashlib.sha256(memoryview(data)[: len(data) - (len(seal[0]))])
        content.update(b"}")
        if content.hexdigest().encode() != seal[1]:
            raise ValueError("its checksum (sha256, its last key) is of another content")


def checked_line(value: dict[str, Any]) -> bytes:
    """Write an object as a line of JSON with a checksum as its last key."""
    text = json.dumps(value, separators=(",", ":")).encode()
    return text[:-1] + f',"crc32":{zlib.crc32(text)}}}\n'.encode()


def checked_objects(text: bytes) -> Iterator[dict[str, Any]]:
    """
    Yield the objects of lines from `checked_line`; any other line is left out.

    Examples
    --------
    >>> lines = checked_line({"run": 1}) + checked_line({"run": 2}).replace(b"2", b"3", 1)
    >>> [value["run"] for value in checked_objects(lines)]
    [1]
    """
    for line in text.split(b"\n"):
        found = _CHECKED.search(line[-30:])
        if found is not None:
            content = line[: len(line) - len(found[0])] + b"}"
            if zlib.crc32(content) == int(found[1]):
                with contextlib.suppress(ValueError, RecursionError):
                    value = json.loads(content)
                    if isinstance(value, dict):
                        yield value
