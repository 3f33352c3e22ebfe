"""Gives runs whose process ended without a word the record that it could not write, from what their files hold."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import socket
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dcbench import hardware, store
from dcbench.errors import DcbenchError, StoreError
from dcbench.launch import assemble, leftovers, secrecy
from dcbench.launch.watchdog import EVENTS
from dcbench.record import Record
from dcbench.redaction import Hidden, of_environment
from dcbench.store.runs import RECORD_FILE, read_json

REASON = "the process that had started it wrote no record, as after SIGKILL, a loss of power, or on a full disk"
_seen: set[Path] = set()
_log = logging.getLogger("dcbench")


def recover_once(root: Path | None = None) -> list[Record]:
    """Do as `recover` does, at most once in a process for each folder; where that cannot be done, it is left."""
    base = (store.root() if root is None else Path(root)).resolve()
    if base in _seen:
        return []
    try:
        found = recover(base)
    except OSError as error:
        _log.warning("runs in %s that were cut off have no record yet: %s", base, error)
        return []
    _seen.add(base)
    return found


def recover(root: Path | None = None) -> list[Record]:
    """
    Write the record of each run that has none although the process that made it is gone.

    Parameters
    ----------
    root : Path, optional
        Folder of all runs; `dcbench.store.root` unless given.

    Returns
    -------
    list of Record
        Those written: status ``"interrupted"``, with every sample that the ranks had written down.

    Notes
    -----
    A run whose process lives, or is another host's, is left alone, and so is one that does not say who makes it.
    Processes and temporary files that such a run has left on this machine go with it.
    """
    base = store.root() if root is None else Path(root)
    found = []
    for run_dir in store.run_directories(base):
        with contextlib.suppress(DcbenchError, OSError, TypeError, ValueError, KeyError):  # damaged: it stays as it is
            about = store.owner(run_dir)
            if about is None or store.is_owned(run_dir) or (run_dir / RECORD_FILE).exists():
                continue  # asked in this order: what has ended can write no record any more
            _end_leftovers(about)
            record = _record(run_dir, about)
            record.flags += secrecy.clear_logs(run_dir, Hidden(of_environment(os.environ)))
            store.write(Record.from_dict(record.to_dict()), run_dir)  # what cannot be read is not written
            found.append(record)
    return found


def _end_leftovers(about: dict[str, Any]) -> None:
    """End what a process that is no more has left running, and remove its temporary files."""
    if mark := store.mark_of(about):
        leftovers.end(mark)
        for folder in Path(tempfile.gettempdir()).glob(f"dcbench-{mark}[.-]*"):
            with contextlib.suppress(FileNotFoundError):  # another process recovers the same run
                if folder.lstat().st_uid == os.geteuid():
                    shutil.rmtree(folder, ignore_errors=True)


def _record(run_dir: Path, about: dict[str, Any]) -> Record:
    asked = read_json(run_dir / "spec.json")
    if not isinstance(asked, dict):
        raise StoreError(f"the specification of run {run_dir.name!r} is damaged")
    spec_hash = str(asked.pop("spec_hash", ""))
    events, _ = store.read_events(run_dir / EVENTS, 0)
    here = about.get("host") == socket.gethostname()
    begun = (run_dir / "spec.json").stat().st_mtime
    times_s = [e["t_s"] for e in events if "t_s" in e]  # on the monotonic clock; a file's own time may have jumped
    return Record(
        run_id=run_dir.name,
        spec=asked,
        spec_hash=spec_hash,
        status="interrupted",
        reason=REASON,
        started_utc=datetime.fromtimestamp(begun, UTC).isoformat(timespec="milliseconds"),
        duration_s=max(times_s) - min(times_s) if times_s else math.nan,
        machine=hardware.inspect_machine().to_dict() if here else {},
        flags=["this record was put together afterwards, from the files of the run"],
        samples=assemble.samples(events),
        sweep=about.get("sweep") or {},
        path=str(run_dir),
    )
