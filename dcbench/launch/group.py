"""Starts a group of worker processes through the engine and watches them to their end: no process outlives it.

It knows what a worker says, and nothing of what a run means or where its record goes.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from dcbench import channel, hardware
from dcbench.errors import WorkerFailed
from dcbench.launch.engine import Engine, EngineGone
from dcbench.launch.polling import ready
from dcbench.launch.tasks import Cast, Stop, Task
from dcbench.launch.watchdog import CHECK_S, Watchdog, size_of

TERM_TO_KILL_S = 2.0
STACKS_S = 1.0  # given to ranks that do not answer, to write where they are
CHANNEL_LIMIT_S = 30.0
MEETING_LIMIT_S = 60.0


class Group:
    """
    Processes that succeed or end together.

    Parameters
    ----------
    engine : Engine
    cast : Cast
        Helpers are started first and ended last.
    start : {"fork", "spawn"}
    stop : Stop
    limit_s : float
        The workers are ended after this time (s).
    report : callable
        Called with a worker's rank and the name of the stage it has entered.
    watchdog : Watchdog
    """

    def __init__(
        self,
        engine: Engine,
        cast: Cast,
        start: str,
        stop: Stop,
        limit_s: float,
        report: Callable[[int, str], None],
        watchdog: Watchdog,
    ) -> None:
        self._engine, self._stop, self._report, self._mode = engine, stop, report, start
        self.tasks, self.helpers, self._meeting = cast.tasks, cast.helpers, cast.meeting
        self._watchdog = watchdog
        self._by_label = {t.label: t for t in (*self.helpers, *self.tasks)}
        self._limit = time.monotonic() + limit_s
        self._kill_at: float | None = None
        self.oom_kills = hardware.oom_kills()  # before
        self.why = ""  # "cancelled", "interrupted", "timeout", or why the engine was lost
        self.cwd = os.getcwd()

    def run(self) -> None:
        """Start everything and return when every process has ended."""
        try:
            for helper in self.helpers:
                self._start(helper)
            if self._meet():
                for task in self.tasks:
                    self._start(task)
                for task in self.tasks:
                    self._hand_job(task)
            while any(t.running for t in self.tasks):
                self._turn()
            self._end_helpers()
        except EngineGone as error:
            self.why = self.why or str(error)
            for task in (t for t in self._by_label.values() if t.running):
                task.exit, task.stopped_by_us = -signal.SIGKILL, True
        finally:
            for task in self._by_label.values():
                for end in (task.channel, task.given):
                    if end is not None:
                        end.close()

    def _start(self, task: Task) -> None:
        task.asked = True
        request = {"label": task.label, "env": task.env, "cpus": list(task.cpus), "log": str(task.log)}
        request |= {"cwd": self.cwd, "path": sys.path, "start": self._mode}
        if task.command:
            self._engine.send(None, op="start", command=task.command, **request)
        elif task.given is not None:
            self._engine.send(task.given, op="start", entry=task.entry, **request)
        else:
            task.channel, theirs = socket.socketpair()
            with theirs:
                self._engine.send(theirs, op="start", entry=task.entry, **request)

    def _meet(self) -> bool:
        """Wait until MPI has told each rank its place; return whether the ranks can be started."""
        meeting, limit = self._meeting, min(self._limit, time.monotonic() + MEETING_LIMIT_S)
        while meeting is not None and not meeting.complete and not self.why:
            found = ready([self._engine, self._stop, meeting], limit - time.monotonic())
            if meeting in found:
                meeting.accept()
            if self._engine in found:
                self._take(self._engine.receive())
            gone = [h for h in self.helpers if h.exit is not None]
            if self._stop.reason:
                self.why = self._stop.reason
            elif gone:
                self.why = f"mpirun {gone[0].ending} before it had started the ranks; see {gone[0].log.name}"
            elif not found:
                self.why = f"mpirun started no ranks within {MEETING_LIMIT_S:.0f} s; see {self.helpers[0].log.name}"
        if meeting is not None and not self.why:
            for rank, task in enumerate(self.tasks):
                task.env |= meeting.environments[rank]
        return not self.why

    def _hand_job(self, task: Task) -> None:
        assert task.channel is not None  # workers always have one
        task.channel.settimeout(CHANNEL_LIMIT_S)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):  # its exit will tell why
            channel.send(task.channel, task.job, task.payload)

    def _turn(self) -> None:
        """Wait for one thing to happen, and act on it."""
        channels = {t.channel: t for t in self.tasks if t.channel is not None}
        stop = [] if self._stop.reason else [self._stop]
        left_s = (self._kill_at if self._kill_at is not None else self._limit) - time.monotonic()
        found = ready([self._engine, *stop, *channels], min(left_s, CHECK_S) + 0.001)
        for sock, task in channels.items():
            if sock in found:
                self._hear(task)
        if self._engine in found:
            self._take(self._engine.receive())
        self._decide()

    def _hear(self, task: Task) -> None:
        """Take one message of a worker."""
        assert task.channel is not None
        try:
            received = channel.receive(task.channel)
        except (WorkerFailed, TimeoutError, ValueError) as error:
            task.error = task.error or {"kind": "WorkerFailed", "message": f"its messages broke off: {error}"}
            received = None
        if received is None:
            task.channel.close()
            task.channel = None
            return
        message = received[0]
        if message["type"] == "result":
            task.result, task.more = message["summary"], message.get("more", False)
        elif message["type"] == "flags":
            task.late_flags += message["flags"]
        elif message["type"] == "error":
            task.error = message
        elif message["type"] == "state":
            task.stage = message["name"]
            self._watchdog.enter(message["rank"], message["name"])
            self._report(message["rank"], message["name"])

    def _take(self, message: dict[str, Any]) -> None:
        """Take one message of the engine."""
        task = self._by_label.get(message.get("label", ""))
        if task is None:
            return  # the end of a process of an earlier group
        if message["op"] == "started":
            task.pid, task.start = message["pid"], message["start"]
        elif message["op"] == "exited":
            while task.channel is not None and ready([task.channel], 0):
                self._hear(task)
            task.exit = os.waitstatus_to_exitcode(message["status"])
            task.stopped_by_us, task.peak_bytes = message["signalled"], message["peak_bytes"]

    def _decide(self) -> None:
        if self._kill_at is None:
            if self._stop.reason:
                self.why = self._stop.reason
            elif time.monotonic() >= self._limit:
                self.why = "timeout"
            elif not any(t.failed for t in (*self.tasks, *self.helpers)):
                if not (hung := self._watchdog.check(self.tasks)):
                    return
                self.why = f"{hung}; {self._stacks()}"
            self._signal(signal.SIGTERM)
            self._kill_at = time.monotonic() + TERM_TO_KILL_S
        elif time.monotonic() >= self._kill_at:
            self._signal(signal.SIGKILL)
            self._kill_at = time.monotonic() + TERM_TO_KILL_S

    def _stacks(self) -> str:
        """Have every rank that can answer write where it is; say where that is to be read."""
        before = {t.label: size_of(t.log) for t in self.tasks if t.running}
        for task in (t for t in self.tasks if t.running):
            self._engine.send(op="stack", label=task.label)
        time.sleep(STACKS_S)
        logs = [t.log.name for t in self.tasks if t.label in before and size_of(t.log) > before[t.label]]
        return f"where the ranks were is at the end of {', '.join(logs)}" if logs else "none of them answered"

    def _signal(self, number: int) -> None:
        for task in (t for t in self.tasks if t.running):
            ends_itself = task.error is not None and task.channel is not None
            if number == signal.SIGKILL or not ends_itself:
                self._engine.send(op="signal", label=task.label, signal=number)

    def _end_helpers(self) -> None:
        if self._meeting is not None:
            self._meeting.close()
            self._wait_for_helpers(time.monotonic() + TERM_TO_KILL_S)
        for helper in self.helpers:
            if helper.running:
                self._engine.send(op="signal", label=helper.label, signal=signal.SIGKILL)
        self._wait_for_helpers(math.inf)

    def _wait_for_helpers(self, limit: float) -> None:
        while any(h.running for h in self.helpers) and (left := limit - time.monotonic()) > 0:
            if ready([self._engine], None if limit == math.inf else left):
                self._take(self._engine.receive())
