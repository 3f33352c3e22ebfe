"""One measurement at a time on a machine, whoever starts it: a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOCK_FILE = "dcbench-measuring.lock"
SHARED_FOLDER = Path("/tmp")  # of all who use this machine, whatever TMPDIR each has
_POLL_S = 0.05
_held: dict[object, int] = {}  # descriptors by who opened them, as numbers come again


def _close_in_forked_child() -> None:
    """A copy of this process must not hold the lock after this one has ended."""
    for number in _held.values():
        os.close(number)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_forked_child)


@contextlib.contextmanager
def measuring(
    what: str, give_up: Callable[[], bool], on_wait: Callable[[str], None], path: Path | None = None
) -> Iterator[bool]:
    """
    Hold the machine's measuring lock.

    Parameters
    ----------
    what : str
        Told to whoever waits, such as a run's id.
    give_up : callable
        Asked while waiting; the context is entered with False once it returns True.
    on_wait : callable
        Called once with a sentence naming the holder, if there is one to wait for.
    path : Path, optional
        The lock's file; `lock_file` unless given.

    Yields
    ------
    bool
        Whether the lock is held.
    """
    number = _open(path or lock_file())
    mine = object()
    _held[mine] = number
    try:
        held, told = _try(number), False
        if not held and not give_up():  # again before a word: `held_by` may just have looked
            time.sleep(_POLL_S)
            held = _try(number)
        while not held and not give_up():
            if not told:
                on_wait(f"waiting for another measurement on this machine ({_holder(number)}) to end")
                told = True
            time.sleep(_POLL_S)
            held = _try(number)
        if held:
            _write(number, {"pid": os.getpid(), "what": what, "since_s": round(time.time(), 3)})
        yield held
    finally:
        if _held.pop(mine, None) is not None:  # else a fork has closed it here, and the number may be another file's
            os.close(number)


def lock_file() -> Path:
    """Return the path of the lock that is one for this machine."""
    return (SHARED_FOLDER if SHARED_FOLDER.is_dir() else Path(tempfile.gettempdir())) / LOCK_FILE


def holder(path: Path) -> str:
    """Return who holds, or held last, the lock of a file."""
    number = _open(path)
    try:
        return _holder(number)
    finally:
        os.close(number)


def held_by(path: Path) -> int | None:
    """
    Return the number of the process that holds the lock of a file; None where none does, or that cannot be known.

    Notes
    -----
    The file is only read. Where the lock is free it is shared for some microseconds, which `measuring` passes over
    in silence: this answers for other hosts and containers too, where ``/proc/locks`` knows only this one's processes.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return None if _try(number, fcntl.LOCK_SH) else int(json.loads(os.pread(number, 4096, 0))["pid"])
    except OSError:
        return None  # a file system without locks
    except (ValueError, KeyError, TypeError):
        return None  # its owner has not yet written who it is
    finally:
        os.close(number)


def _open(path: Path) -> int:
    """Open the lock's file, which another person on this machine may own."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        number = os.open(path, flags | os.O_CREAT, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(number, 0o666)  # whatever the umask
        return number


def _try(number: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(number, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(number: int) -> str:
    try:
        owner = json.loads(os.pread(number, 4096, 0))
        return f"{owner['what']} of process {owner['pid']}"
    except (ValueError, KeyError, TypeError):
        return "its owner has not yet written who it is"


def _write(number: int, owner: dict[str, object]) -> None:
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same; its holder's name is not there
        os.ftruncate(number, 0)
        os.pwrite(number, json.dumps(owner).encode(), 0)
