"""Turns a freshly forked process into a worker: its session, log, cores, environment, then its entry.

It runs between fork and the worker's own code, and knows nothing of runs.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from dcbench import channel as channels
from dcbench.launch import leftovers

CHANNEL_VARIABLE = "DCBENCH_CHANNEL_FD"
SETUP_FAILED = 70  # exit status where the process could not be set up

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent, which must be `parent`, ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(SETUP_FAILED)


def adopt_orphans() -> None:
    """Become the parent of whatever a dead child leaves behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def scratch(folder: str, pid: int) -> str:
    """Return the folder of a worker's temporary files, in that of its engine."""
    return os.path.join(folder, str(pid))


def become(
    request: Mapping[str, Any], channel: socket.socket | None, parent: int, temporary: str, fresh: bool
) -> NoReturn:
    """
    Set this forked process up as `request` says and run its entry; never returns.

    Parameters
    ----------
    request : mapping
        ``entry`` (``"module:function"``), or ``command`` (a list) for a program of another kind; ``env``, ``cpus``,
        ``log``, ``cwd`` and ``path`` (``sys.path``).
    channel : socket.socket or None
        Handed to the entry.
    parent : int
        The process that forked; this one ends with it.
    temporary : str
        Folder to make for its temporary files: a process that is killed cannot remove what it has written there.
    fresh : bool
        Whether a new interpreter replaces this one.
    """
    status = SETUP_FAILED
    try:
        own = {"TMPDIR": temporary, leftovers.VARIABLE: os.environ[leftovers.VARIABLE]}
        request = {**request, "env": {**request["env"], **own}}
        _set_up(request, parent)
        if "command" in request:
            os.execvpe(request["command"][0], request["command"], request["env"])
        if fresh:
            _replace(request, channel)
        channels.answer_with_stacks()
        sys.path[:] = request["path"]
        module, function = request["entry"].split(":")
        sys.argv = [module]
        status = getattr(importlib.import_module(module), function)(channel)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # the log is the only place that is left to tell of it
        traceback.print_exc()
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()  # Horovod's orderly shutdown; the interpreter's own end would take longer
        sys.stdout.flush()
    os._exit(status)


def _set_up(request: Mapping[str, Any], parent: int) -> None:
    os.setsid()
    die_with_parent(parent)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if request["cpus"]:
        os.sched_setaffinity(0, request["cpus"])
    os.chdir(request["cwd"])
    os.makedirs(request["env"]["TMPDIR"], exist_ok=True)
    tempfile.tempdir = None  # of the engine, before the fork
    os.environ.clear()
    os.environ.update(request["env"])


def _replace(request: Mapping[str, Any], channel: socket.socket | None) -> NoReturn:
    environment = dict(request["env"]) | {"PYTHONPATH": os.pathsep.join(p for p in request["path"] if p)}
    if channel is not None:
        channel.set_inheritable(True)
        environment[CHANNEL_VARIABLE] = str(channel.fileno())
    module = request["entry"].split(":")[0]
    os.execve(sys.executable, [sys.executable, "-m", module], environment)
