"""Moments of a run at which a fault can strike, seen from outside: by its files, and by the processes that it has."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from dcbench import store
from dcbench.launch import Handle, engine_status, lock
from faults import census
from faults.misdeeds import FILE

LIMIT_S = 90.0
COMMAND = "from dcbench.cli import main\nsys.exit(main(sys.argv[1:]))\n"  # the dcbench command, as a driver
FIELDS = {
    "model": "linear", "dataset": f"{FILE}:rows", "dataset_args": {"do": "leave children"}, "oversubscribe": True,
    "backend": "horovod", "devices": 2, "steps": 10_000_000, "warmup_max_steps": 20,
}  # fmt: skip


def words(**fields: Any) -> list[str]:
    """Return fields of a spec as words of a shell."""
    found = []
    for name, value in fields.items():
        flag = "--" + name.replace("_", "-")
        shown = {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
        found += [flag] if value is True else [flag, json.dumps(value) if isinstance(value, dict) else shown]
    return found


def until(true: Callable[[], Any], process: subprocess.Popen[str] | Handle, limit_s: float = LIMIT_S) -> Any:
    """Wait for something while a driver, or a run of this process, is at work; return what it gave."""
    limit = time.monotonic() + limit_s
    while not (found := true()):
        if isinstance(process, Handle):
            assert not process.done, process.result().reason
        elif process.poll() is not None:
            raise AssertionError(f"the driver ended with status {process.returncode}: {process.communicate()}")
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)
    return found


def begun() -> list[Path]:
    """Return the directories of runs that have begun."""
    return [path for path in store.run_directories(store.root()) if (path / "owner.json").exists()]


def waiting() -> bool:
    """Whether a driver has come as far as the machine's measuring lock, which the test is to hold then."""
    own = {about["pid"] for about in engine_status()}
    return any(_has_open(p.pid, lock.lock_file()) for p in marked_processes() if p.pid not in own)


def _has_open(pid: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(os.path.realpath(link) == str(path) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def importing() -> bool:
    """Whether an engine of a driver imports TensorFlow, and no rank has begun."""
    own = {about["pid"] for about in engine_status()}
    others = census.marked(os.environ[census.MARK]) - own
    engines = [pid for pid in others if "dcbench.launch.server" in _about(pid, "cmdline")]
    return any("/tensorflow/" in _about(pid, "maps") for pid in engines) and not events()


def _about(pid: int, what: str) -> str:
    """Return what the kernel tells of a process; nothing of one that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except OSError:
        return ""


def marked_processes() -> list[psutil.Process]:
    """Return what has been begun by these tests."""
    found = []
    for pid in census.marked(os.environ[census.MARK]):
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


def tracing() -> bool:
    """Whether the ranks make their first step."""
    return any('"warming up"' in text and '"warmup"' not in text for text in events())


def training() -> bool:
    """Whether steps of the timed block have been written down."""
    return any('"train"' in text for text in events())


def crowded() -> bool:
    """Whether that is so, and a rank has begun processes that have left it."""
    return training() and len(left_ranks()) == 2


def written() -> bool:
    """Whether the record is being written, or has just been."""
    return any(name.startswith((".record.json", "record.json")) for path in begun() for name in os.listdir(path))


def events() -> list[str]:
    """Return the text of each run's events."""
    return [path.read_text() for path in store.root().glob("*/events.jsonl")]


def engine_of(process: subprocess.Popen[str]) -> int:
    """Return the warm engine of a driver."""
    [found] = [p.pid for p in psutil.Process(process.pid).children() if "dcbench.launch.server" in p.cmdline()]
    return found


def left_ranks() -> list[int]:
    """Return the processes that ranks have begun in sessions of their own."""
    return [pid for pid in census.marked(os.environ[census.MARK]) if _about(pid, "comm") == "sleep\n"]


def interrupt(process: subprocess.Popen[str], times: int, apart_s: float = 0.03) -> None:
    """Press Ctrl-C."""
    for press in range(times):
        if press:
            time.sleep(apart_s)
        process.send_signal(signal.SIGINT)
