"""Ends what is left of a run once the engine that held its processes is no more: a mark in their environment tells.

A living engine is the parent of whatever its workers leave behind, and ends that itself. Without it the kernel ends the
workers, but not what these have begun in sessions of their own: that is looked for here. What has emptied its
environment as well is not found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

VARIABLE = "DCBENCH_ENGINE"  # which engine a process comes from: every one below it inherits this
LIMIT_S = 2.0


def end(mark: str) -> set[int]:
    """
    Kill all processes of this user that come from an engine.

    Parameters
    ----------
    mark : str
        Of the engine; or of the process that had started it, for all of its engines.

    Returns
    -------
    set of int
        Numbers of those that were found.
    """
    limit, found = time.monotonic() + LIMIT_S, set[int]()
    while some := {int(name) for name in os.listdir("/proc") if name.isdigit() and _kill(int(name), mark)}:
        found |= some  # again, as one may have begun another meanwhile
        if time.monotonic() > limit:
            break
        time.sleep(0.01)
    return found


def _kill(pid: int, mark: str) -> bool:
    """Kill one process if it carries the mark; return whether it does."""
    if not _is_marked(pid, mark):
        return False
    with contextlib.suppress(OSError):
        number = os.pidfd_open(pid)
        try:
            if _is_marked(pid, mark):  # the number has not been given to another one
                signal.pidfd_send_signal(number, signal.SIGKILL)
        finally:
            os.close(number)
    return True


def _is_marked(pid: int, mark: str) -> bool:
    if pid == os.getpid():
        return False
    place = Path("/proc", str(pid))
    try:
        if place.stat().st_uid != os.geteuid():
            return False
        entries = (place / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it has ended
    own = f"{VARIABLE}={mark}".encode()
    return any(entry == own or entry.startswith(own + b".") for entry in entries)
