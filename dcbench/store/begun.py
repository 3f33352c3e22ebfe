"""How a run begins on disk: its directory, what is asked, and which process makes it, and whether that still lives."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcbench.errors import StoreError
from dcbench.store.runs import base_of, encoded, explained, new_id, read_json, write_atomically

OWNER_FILE = "owner.json"


def create(
    spec: Mapping[str, Any], spec_hash: str, root: Path | None = None, sweep: Mapping[str, Any] | None = None
) -> Path:
    """
    Make the directory of a new run: ``spec.json`` and, of the process that makes it, ``owner.json``.

    Parameters
    ----------
    spec : mapping
        As from ``RunSpec.to_dict``.
    spec_hash : str
    root : Path, optional
        Folder of all runs.
    sweep : mapping, optional
        The run's place in a sweep, kept beside its owner until the record has it.

    Returns
    -------
    Path
        The directory; its name is the run's id, which sorts by time.

    Raises
    ------
    StoreError
        If the folder cannot be written; nothing is left behind.
    """
    base = base_of(root)
    with explained("keep a run", base):
        base.mkdir(parents=True, exist_ok=True)
        run_dir = base / new_id()
        run_dir.mkdir()
    try:
        write_atomically(run_dir / "spec.json", encoded({**spec, "spec_hash": spec_hash}, indent=1))
        write_atomically(run_dir / OWNER_FILE, encoded(_this_process() | {"sweep": dict(sweep or {})}))
    except BaseException:
        shutil.rmtree(run_dir, ignore_errors=True)
        raise
    return run_dir


def owner(run_dir: Path) -> dict[str, Any] | None:
    """Return the process (``pid``, ``host`` and more) that makes or made a run; None where it is not known."""
    try:
        about = read_json(Path(run_dir) / OWNER_FILE)
    except StoreError:
        return None
    return about if isinstance(about, dict) else None


def is_owned(run_dir: Path) -> bool:
    """
    Say whether the process that makes a run still lives.

    A number that another process has since been given is not taken for it. Of a process of another host or container
    nothing can be seen: it is taken to live.
    """
    about = owner(run_dir)
    if about is None or not isinstance(about.get("host"), str):
        return False
    if about["host"] != socket.gethostname():
        return True
    if about.get("boot") != _boot():
        return False
    if about.get("namespace") != _namespace():
        return True
    pid, start = about.get("pid"), about.get("start_ticks")
    return isinstance(pid, int) and isinstance(start, int) and _start_ticks(pid) == start


def mark_of(about: Mapping[str, Any] | None = None) -> str:
    """
    Return a word that is one process's alone.

    Parameters
    ----------
    about : mapping, optional
        As from `owner`; this process unless given.

    Returns
    -------
    str
        16 hex digits; empty where `about` does not say enough.
    """
    about = _this_process() if about is None else about
    kinds = {"pid": int, "start_ticks": int, "boot": str, "host": str}
    if not all(isinstance(about.get(name), kind) for name, kind in kinds.items()):
        return ""
    return hashlib.sha256(repr([about[name] for name in kinds]).encode()).hexdigest()[:16]


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    about = {"pid": pid, "start_ticks": _start_ticks(pid), "boot": _boot(), "namespace": _namespace()}
    return about | {"host": socket.gethostname()}


def _start_ticks(pid: int) -> int | None:
    """
    Return when a process started, in the kernel's ticks since boot, which no setting of a clock moves.

    None where it has ended, also while its parent has not yet taken note of that.
    """
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(others[18])
    except (OSError, ValueError, IndexError):
        return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
