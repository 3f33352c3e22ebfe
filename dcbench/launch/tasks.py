"""A process to start and what became of it; a request to stop. Plain values that the launcher's parts hand around."""

from __future__ import annotations

import os
import signal
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcbench.launch.mpi import Meeting


class Stop:
    """A request to end early, from any thread, that a poll can wait for."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask for the end; the first reason stays."""
        with self._lock:
            if self._event >= 0 and not self.reason:
                self.reason = reason
                os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._event

    def close(self) -> None:
        """Free the descriptor."""
        with self._lock:
            os.close(self._event)
            self._event = -1


@dataclass
class Task:
    """
    One process of a group, and what became of it.

    Parameters
    ----------
    label : str
        Unique among all processes of an engine.
    env : dict of str to str
        Its whole environment.
    log : Path
        Where its output goes.
    entry : str
        ``"module:function"``, called with the process's end of the channel.
    command : list of str
        Instead of `entry`: another program, without a channel.
    cpus : tuple of int
        CPUs it is pinned to.
    job, payload : dict, bytes
        First message on its channel.
    given : socket.socket or None
        Handed to the entry instead of a channel.
    """

    label: str
    env: dict[str, str]
    log: Path
    entry: str = ""
    command: list[str] = field(default_factory=list)
    cpus: tuple[int, ...] = ()
    job: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""
    given: socket.socket | None = None

    asked: bool = False
    pid: int | None = None
    start: str = ""
    channel: socket.socket | None = None
    result: dict[str, Any] | None = None
    more: bool = False  # after its result it goes on with what cannot fail the run
    late_flags: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    stage: str = ""
    exit: int | None = None
    peak_bytes: int | None = None  # resident, as the kernel counted it when it ended
    stopped_by_us: bool = False

    @property
    def running(self) -> bool:
        """Whether it was asked for and has not been reaped."""
        return self.asked and self.exit is None

    @property
    def failed(self) -> bool:
        """Whether it ended, or told of an error, without a result."""
        if self.more:
            return False
        return self.error is not None or (self.exit is not None and (self.exit != 0 or self.result is None))

    @property
    def ending(self) -> str:
        """How it ended, in words that follow its name."""
        assert self.exit is not None  # asked only of processes that have ended
        if self.exit < 0:
            return f"was ended by {signal.Signals(-self.exit).name}"
        return f"ended with exit status {self.exit}"


@dataclass(frozen=True)
class Cast:
    """The processes of a run: its ranks in order, what they need, and where MPI ranks are told their place."""

    tasks: list[Task]
    helpers: list[Task]
    meeting: Meeting | None = None
