"""This process's end of the warm engine: starts the fork process when it is needed, and talks to it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dcbench.errors import WorkerFailed
from dcbench.launch import environment, leftovers
from dcbench.launch.polling import ready
from dcbench.launch.server import MAX_MESSAGE_BYTES
from dcbench.store.begun import mark_of
from dcbench.store.runs import explained

MAX_ENGINES = 2  # of different identities, so that a study of knobs need not start anew for each run
PREPARE_LIMIT_S = 300.0
END_LIMIT_S = 3.0
_numbers = itertools.count()


class EngineGone(WorkerFailed):
    """The fork process has ended."""


class Engine:
    """
    A running fork process.

    Parameters
    ----------
    variables : mapping of str to str
        Its environment.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.identity = _identity(variables)
        self.mark = f"{mark_of() or secrets.token_hex(8)}.{next(_numbers)}"  # inherited by all that comes from it
        self.warm = self.ready = False
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_MESSAGE_BYTES)  # the kernel may grant less
        with explained("keep temporary files", Path(tempfile.gettempdir())):
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
            self._scratch = tempfile.mkdtemp(prefix=f"dcbench-{self.mark}-")  # of its workers
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(p for p in (package, variables.get("PYTHONPATH")) if p)
        command = [sys.executable, "-m", "dcbench.launch.server", str(theirs.fileno()), str(os.getpid()), self._scratch]
        with theirs:
            self.process = subprocess.Popen(
                command,
                env={**variables, "PYTHONPATH": path, leftovers.VARIABLE: self.mark},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                cwd="/",
                start_new_session=True,
            )

    def fileno(self) -> int:
        """Return the descriptor to poll for messages."""
        return self._socket.fileno()

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def send(self, channel: socket.socket | None = None, **request: Any) -> None:
        """Send one request, with a worker's channel where it starts one."""
        data = json.dumps(request).encode()
        too_long = f"a request of {len(data)} bytes is too long for the engine; shorten the environment or the knobs"
        if len(data) > MAX_MESSAGE_BYTES:
            raise WorkerFailed(too_long)
        try:
            socket.send_fds(self._socket, [data], [channel.fileno()] if channel is not None else [])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EngineGone(self._why_gone()) from error
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            raise WorkerFailed(too_long) from error

    def receive(self) -> dict[str, Any]:
        """Wait for one message."""
        try:
            data = self._socket.recv(MAX_MESSAGE_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EngineGone(self._why_gone())
        return json.loads(data)

    def prepare(self, preload: bool, stop: Any) -> bool:
        """
        Wait until the process is ready to start workers.

        Parameters
        ----------
        preload : bool
            Whether to import TensorFlow first, if it is not yet.
        stop : object with fileno
            Readable once the wait is to end early.

        Returns
        -------
        bool
            False where it ended early.
        """
        self.ready = False
        self.send(op="prepare", preload=preload)
        limit = time.monotonic() + PREPARE_LIMIT_S
        watched = [self, stop] if preload and not self.warm else [self]
        while (left := limit - time.monotonic()) > 0:
            found = ready(watched, left)
            if stop in found:
                self.close()  # an import cannot be interrupted otherwise
                return False
            if self in found and self.receive()["op"] == "ready":  # others are of a run that ended badly
                self.warm, self.ready = self.warm or preload, True
                return True
        last_words = self._tail()
        self.close()
        raise WorkerFailed(f"the warm engine was not ready within {PREPARE_LIMIT_S:.0f} s; {last_words}")

    def hang_up(self) -> None:
        """Have the process end, and whoever waits for its messages learn of it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the process and everything that it started."""
        self.hang_up()
        try:
            self.process.wait(END_LIMIT_S if self.ready else 0)  # else it is importing, and does not listen
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # its workers then die by its death
            self.process.wait()
        leftovers.end(self.mark)
        shutil.rmtree(self._scratch, ignore_errors=True)  # where it could not do so itself
        self._socket.close()
        self._log.close()

    def forget(self) -> None:
        """Let go of the process in a forked copy of its client."""
        self._socket.close()
        self._log.close()
        self.process.returncode = 0  # it is not this process's child: nothing to wait for

    def _why_gone(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        status = self.process.returncode
        how = f"by {signal.Signals(-status).name}" if status is not None and status < 0 else f"with status {status}"
        return f"the warm engine (process {self.process.pid}) ended {how}; {self._tail()}"

    def _tail(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 4000))
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return f"it last wrote: {lines[-1]}" if lines else "it wrote nothing"


_engines: list[Engine] = []
_lock = threading.RLock()  # of the process that it was made in; see _forget_in_forked_child


@contextlib.contextmanager
def using(variables: Mapping[str, str], preload: bool, stop: Any) -> Iterator[Engine | None]:
    """
    Have an engine for one group of workers, to the exclusion of other threads.

    Parameters
    ----------
    variables : mapping of str to str
        The workers' common environment; an engine serves those that agree in what is read at import.
    preload : bool
        Whether workers are to be forked with TensorFlow imported.
    stop : object with fileno
        Readable once waiting is to end early.

    Yields
    ------
    Engine or None
        None where waiting ended early.
    """
    with _lock:
        engine = _ready(variables, preload, stop)
        try:
            yield engine
        except BaseException:
            if engine is not None:
                engine.close()  # what it is doing is no longer known
            raise
        if engine is not None and not engine.alive:
            engine.close()  # with what its workers have begun


def _ready(variables: Mapping[str, str], preload: bool, stop: Any) -> Engine | None:
    for last_try in (False, True):
        engine = _find(variables)
        try:
            return engine if engine.prepare(preload, stop) else None
        except EngineGone:  # idle engines end by themselves, at any moment
            engine.close()
            if last_try:
                raise
    raise AssertionError("not reached")


def _identity(variables: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """Return what a warm engine cannot change: variables read at import, and the age of dcbench's own sources."""
    sources = Path(__file__).resolve().parents[1].rglob("*.py")
    return environment.identity(variables), max(path.stat().st_mtime_ns for path in sources)


def _find(variables: Mapping[str, str]) -> Engine:
    for engine in [e for e in _engines if not e.alive]:
        engine.close()
        _engines.remove(engine)
    wanted = _identity(variables)
    for engine in _engines:
        if engine.identity == wanted:
            return engine
    while len(_engines) >= MAX_ENGINES:
        _engines.pop(0).close()
    _engines.append(Engine(variables))
    return _engines[-1]


def stop_engines() -> None:
    """End this process's warm engines, and with them any run that they serve."""
    for engine in list(_engines):
        engine.hang_up()
    with _lock:
        while _engines:
            _engines.pop().close()


def engine_status() -> list[dict[str, Any]]:
    """
    Describe this process's warm engines.

    Returns
    -------
    list of dict
        ``pid``, ``memory_bytes`` (resident) and ``warm`` (whether TensorFlow is imported) of each.
    """
    import psutil

    found = []
    for engine in list(_engines):
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = psutil.Process(engine.process.pid).memory_info().rss
            found.append({"pid": engine.process.pid, "memory_bytes": memory, "warm": engine.warm})
    return found


def _forget_in_forked_child() -> None:
    global _lock  # noqa: PLW0603 - a thread that no longer exists may hold it
    _lock = threading.RLock()
    while _engines:
        _engines.pop().forget()


os.register_at_fork(after_in_child=_forget_in_forked_child)
