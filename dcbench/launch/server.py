"""The warm engine: a fork process with TensorFlow already imported, that starts, signals and reaps workers on request.

One message of JSON a packet over a socket pair, a worker's channel beside it. It ends with its parent, when the
other side hangs up, and after an idle time; its workers end with it. It imports, and starts nothing of TensorFlow.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from typing import Any

from dcbench.channel import STACK_SIGNAL
from dcbench.launch import child

MAX_MESSAGE_BYTES = 2**20
IDLE_S = 600.0
PRELOADED = (
    "tensorflow", "keras", "numpy.random", "horovod.tensorflow", "horovod.runner.http.http_server",
    "dcbench.worker", "dcbench.store", "dcbench.training", "dcbench.backends.horovod",
)  # fmt: skip
HIDDEN = ("pandas", "scipy", "sklearn", "pyarrow", "matplotlib", "IPython", "torch", "jax")  # optional, slow, threaded


def preload() -> str:
    """Import what workers need; return why that failed, or an empty string."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # else NumPy starts threads, and a forked copy of those is broken
    hidden = [name for name in HIDDEN if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        for name in PRELOADED:
            with contextlib.suppress(ImportError) if "horovod" in name else contextlib.nullcontext():
                importlib.import_module(name)
    except Exception as error:  # a broken build may raise anything; the worker will tell in full
        return f"{type(error).__name__}: {error}"
    finally:
        for name in hidden:
            del sys.modules[name]
    gc.collect()
    gc.freeze()
    return ""


def why_not_fork() -> str:
    """Say what makes a fork of this process unsafe, or return an empty string."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        return f"the warm engine has {threads} threads"
    context = getattr(sys.modules.get("tensorflow.python.eager.context"), "_context", None)
    if context is not None and context._initialized:  # TensorFlow has no public way to ask
        return "TensorFlow's runtime has started in the warm engine"
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").startswith("/dev/nvidia"):
                return "the warm engine has a GPU open"
    return ""


class Server:
    """
    Serve one client until it ends.

    Parameters
    ----------
    control : socket.socket
        ``SOCK_SEQPACKET``, to the client.
    parent : int
        Process id of the client.
    scratch : str
        Folder of the temporary files of all workers; it goes with the server.
    idle_s : float
        Without work for this long (s), the server ends.
    """

    def __init__(self, control: socket.socket, parent: int, scratch: str, idle_s: float) -> None:
        self._control, self._scratch, self._idle_s = control, scratch, idle_s
        self._pid = os.getpid()
        self._parent = os.pidfd_open(parent)
        if os.getppid() != parent:
            shutil.rmtree(scratch, ignore_errors=True)
            sys.exit(0)  # the client ended before this process could watch it
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._pids: dict[int, str] = {}
        self._signalled: dict[str, set[int]] = {}
        self._preload_failure: str | None = None
        self._quiet_since = time.monotonic()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        child.adopt_orphans()

    def serve(self) -> None:
        """Answer requests until the client is gone, asks for the end, or has been idle for too long."""
        poll = select.poll()
        for watched in (self._control, self._parent, self._woken):
            poll.register(watched, select.POLLIN)
        try:
            while not self._idle():
                ready = {number for number, _ in poll.poll(1000)}
                if self._woken.fileno() in ready:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                self._reap()
                if self._parent in ready or (self._control.fileno() in ready and not self._answer()):
                    return
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            self._end()

    def _idle(self) -> bool:
        if self._pids:
            self._quiet_since = time.monotonic()
        return time.monotonic() - self._quiet_since > self._idle_s

    def _answer(self) -> bool:
        """Do what one request asks; return whether to go on."""
        data, ancillary, _, _ = self._control.recvmsg(MAX_MESSAGE_BYTES, socket.CMSG_SPACE(4))
        if not data:
            return False
        request, channel = json.loads(data), _channel(ancillary)
        self._quiet_since = time.monotonic()
        if request["op"] == "prepare":
            if request["preload"] and self._preload_failure is None:
                self._preload_failure = preload()
            self._tell(op="ready")
        elif request["op"] == "start":
            self._start(request, channel)
        elif request["op"] == "signal":
            self._signal(request["label"], request["signal"])
        elif request["op"] == "stack":
            self._ask_for_stack(request["label"])
        return request["op"] != "end"

    def _start(self, request: dict[str, Any], channel: socket.socket | None) -> None:
        fresh, how = request["start"] != "fork", request["start"]
        if not fresh and (reason := self._preload_failure or why_not_fork()):
            fresh, how = True, f"spawn ({reason})"
        pid = os.fork()
        if pid == 0:
            for end in (self._control, self._woken, self._waker):
                end.close()
            os.close(self._parent)
            child.become(request, channel, self._pid, child.scratch(self._scratch, os.getpid()), fresh)
        if channel is not None:
            channel.close()
        self._pids[pid] = request["label"]
        self._tell(op="started", label=request["label"], pid=pid, start=how)

    def _signal(self, label: str, number: int) -> None:
        for pid in [p for p, known in self._pids.items() if known == label]:
            self._signalled.setdefault(label, set()).add(number)
            try:
                os.killpg(pid, number)
            except ProcessLookupError:  # it has not come to have a group of its own yet
                os.kill(pid, number)

    def _ask_for_stack(self, label: str) -> None:
        for pid in [p for p, known in self._pids.items() if known == label]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, STACK_SIGNAL)

    def _reap(self) -> None:
        """Report children that have ended, after ending whatever they leave behind."""
        while (ended := _ended_child()) is not None:
            label = self._pids.pop(ended, None)
            if label is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(ended, signal.SIGKILL)
            _, status, used = os.wait4(ended, 0)
            self._kill_orphans()
            shutil.rmtree(child.scratch(self._scratch, ended), ignore_errors=True)
            if label is not None:
                sent = self._signalled.pop(label, set())
                ours = bool(sent) and (not os.WIFSIGNALED(status) or os.WTERMSIG(status) in sent)  # else it was dying
                about = {"status": status, "signalled": ours, "peak_bytes": used.ru_maxrss * 1024}
                self._tell(op="exited", label=label, **about)

    def _kill_orphans(self) -> None:
        for pid in _children():
            if pid not in self._pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _end(self) -> None:
        self._control.close()
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        limit = time.monotonic() + 2
        while _children() and time.monotonic() < limit:
            if (ended := _ended_child()) is None:
                time.sleep(0.01)
            else:
                self._pids.pop(ended, None)
                os.waitpid(ended, 0)
            self._kill_orphans()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _tell(self, **message: Any) -> None:
        self._control.send(json.dumps(message).encode())


def _ended_child() -> int | None:
    """Return the id of a child that has ended and is not yet reaped."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def _channel(ancillary: list[tuple[int, int, bytes]]) -> socket.socket | None:
    numbers = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return socket.socket(fileno=numbers[0]) if numbers else None


if __name__ == "__main__":
    _control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Server(_control, int(sys.argv[2]), sys.argv[3], float(os.environ.get("DCBENCH_IDLE_S") or IDLE_S)).serve()
