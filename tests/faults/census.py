"""Counts what a fault may leave behind: processes, descriptors, ports and temporary files."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dcbench.launch import engine_status

MARK = "DCBENCH_TEST_CENSUS"  # a variable that every process begun from here inherits, wherever it goes
SETTLE_S = 10.0


def marked(value: str) -> set[int]:
    """Return the processes of this machine that carry the mark, this one and those that have ended left out."""
    wanted, found = f"{MARK}={value}".encode(), set()
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, psutil.Error):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            if wanted in Path("/proc", name, "environ").read_bytes().split(b"\0"):  # nothing is left of a zombie's
                found.add(int(name))
    return found


@dataclass(frozen=True)
class Census:
    """
    What there is at one moment.

    Attributes
    ----------
    processes : set of int
        Begun from here and alive, warm engines of this process left out.
    descriptors : int
        Open in this process.
    ports : set of int
        On which this process, or one begun from here, listens.
    temporary : set of str
        Files in the folder for temporary ones, and half written ones among the runs; what warm engines of this process
        keep is left out.
    """

    processes: set[int] = field(default_factory=set)
    descriptors: int = 0
    ports: set[int] = field(default_factory=set)
    temporary: set[str] = field(default_factory=set)


def take(value: str, temporary: Path, runs: Path) -> Census:
    """Count what there is now."""
    begun = marked(value)
    engines = {about["pid"] for about in engine_status()}
    ports = {p for pid in (*begun, os.getpid()) for p in listening(pid)}
    halves = {str(p) for p in (*runs.glob("*/.*"), *runs.glob(".*")) if p.suffix != ".lock"}  # a sweep's lock stays
    descriptors = len(os.listdir("/proc/self/fd"))
    files = {str(p) for p in temporary.iterdir()} - {_scratch(pid) for pid in engines}
    return Census(begun - engines, descriptors, ports, files | halves)


def _scratch(pid: int) -> str:
    """Return the folder that an engine keeps for its workers: its last argument."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).cmdline()[-1]
    return ""


def listening(pid: int) -> set[int]:
    """Return the TCP ports on which a process listens."""
    with contextlib.suppress(psutil.Error):
        return {c.laddr.port for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return set()


def left_over(before: Census, value: str, temporary: Path, runs: Path) -> str:
    """Say what has come since and does not go within ``SETTLE_S``; empty where nothing stays."""
    limit = time.monotonic() + SETTLE_S
    while said := _more(before, take(value, temporary, runs)):
        if time.monotonic() > limit:
            return said
        time.sleep(0.1)
    return ""


def _more(before: Census, now: Census) -> str:
    said = [f"process {pid} ({_command(pid)})" for pid in now.processes - before.processes]
    said += [f"port {port}" for port in now.ports - before.ports]
    said += [f"file {path}" for path in now.temporary - before.temporary]
    if now.descriptors > before.descriptors:
        said.append(f"{now.descriptors - before.descriptors} descriptors")
    return ", ".join(said)


def _command(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())[:200]
    return "gone"
