"""How a run begins on disk: its directory, what is asked, and which process makes it, and whether that still lives."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from dcbench.errors import StoreError
from dcbench.store.runs import base_of, encoded, explained, new_id, read_json, write_atomically

OWNER_FILE = "owner.json"
_SAME_START_S = 0.05  # a process's start is known to a hundredth of a second


def create(spec: Mapping[str, Any], spec_hash: str, root: Path | None = None) -> Path:
    """
    Make the directory of a new run: ``spec.json`` and, of the process that makes it, ``owner.json``.

    Parameters
    ----------
    spec : mapping
        As from ``RunSpec.to_dict``.
    spec_hash : str
    root : Path, optional
        Folder of all runs.

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
        write_atomically(run_dir / OWNER_FILE, encoded(_this_process()))
    except BaseException:
        shutil.rmtree(run_dir, ignore_errors=True)
        raise
    return run_dir


def owner(run_dir: Path) -> dict[str, Any] | None:
    """Return the process (``pid``, ``created_s``, ``host``) that makes or made a run; None where it is not known."""
    try:
        about = read_json(Path(run_dir) / OWNER_FILE)
    except StoreError:
        return None
    return about if isinstance(about, dict) else None


def is_owned(run_dir: Path) -> bool:
    """
    Say whether the process that makes a run still lives.

    A number that another process has since been given is not taken for it. Of another host's process nothing can be
    seen: it is taken to live.
    """
    about = owner(run_dir)
    if about is None or not isinstance(about.get("host"), str):
        return False
    if about["host"] != socket.gethostname():
        return True
    try:
        started_s = psutil.Process(int(about["pid"])).create_time()
        return abs(started_s - float(about["created_s"])) < _SAME_START_S
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "created_s": psutil.Process().create_time(), "host": socket.gethostname()}
