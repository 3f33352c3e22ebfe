"""A derived file that lets thousands of records be listed without reading them: one line a record.

It can be deleted at any time. A line counts only while it matches its ``record.json`` (inode, time, size), so
that writers that come together, crash, or know nothing of the index cannot make it lie.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from dcbench.errors import StoreError
from dcbench.store.files import checked_line, checked_objects, explained, read_regular
from dcbench.store.runs import RECORD_FILE, is_run_id, write_atomically

INDEX_FILE = "index.jsonl"
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC  # not blocked by a pipe of that name
Entry = dict[str, Any]
Row: TypeAlias = list[Any] | dict[str, Any]  # values by column, or what is wrong with the record


def append(root: Path, entries: Iterable[Entry]) -> None:
    """Add lines to the index of `root`; where that folder cannot be written, reading only takes longer."""
    with contextlib.suppress(OSError):
        number = os.open(root / INDEX_FILE, _APPEND, 0o644)
        try:
            os.write(number, _text(entries))  # one call, so that lines of several writers do not mix
        finally:
            os.close(number)


def entry(run_dir: Path, layout: str, row: Row) -> Entry:
    """Make the line of one record; `layout` names the columns that `row` was made with."""
    return {"run": run_dir.name, "file": _identity(run_dir / RECORD_FILE), "layout": layout, "row": row}


def rows(root: Path, layout: str, columns: int, read: Callable[[Path], Row]) -> dict[str, Row]:
    """
    Return the row of each run directory in `root`, from its index line where that is current.

    Parameters
    ----------
    root : Path
        Folder of all runs.
    layout : str
        Lines of another layout are made anew.
    columns : int
        Values of a row.
    read : callable
        Makes the row of a run directory from its ``record.json``.

    Returns
    -------
    dict of str to list or dict
        By name of the directory, in order of name.
    """
    lines = _lines(root)
    current = {e["run"]: e for e in lines if e.get("layout") == layout and isinstance(e.get("run"), str)}
    found: dict[str, Row] = {}
    fresh: list[Entry] = []
    for name in _run_names(root):
        line = current.get(name)
        identity = _identity(f"{root}/{name}/{RECORD_FILE}")  # thousands of them: as text, which takes half the time
        if line is None or identity is None or line.get("file") != identity or not _is_row(line.get("row"), columns):
            line = {"run": name, "file": identity, "layout": layout, "row": read(root / name)}
            if identity is not None:
                fresh.append(line)
        found[name] = line["row"]
        current[name] = line
    if fresh:
        append(root, fresh)
    if len(lines) + len(fresh) > 1.5 * len(found) + 100:
        _compact(root, [current[name] for name in found])
    return found


def run_directories(root: Path) -> list[Path]:
    """List the directories in `root` that can be runs, by name and so by time."""
    return [root / name for name in _run_names(root)]


def _run_names(root: Path) -> list[str]:
    with explained("list the runs", root):
        try:
            with os.scandir(root) as entries:
                return sorted(e.name for e in entries if is_run_id(e.name) and e.name != INDEX_FILE and _can_be_run(e))
        except FileNotFoundError:
            return []


def _can_be_run(found: os.DirEntry[str]) -> bool:
    try:
        return found.is_dir()
    except OSError:  # a loop of links, which is to be named where the runs are listed
        return True


def _is_row(value: Any, columns: int) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and len(value) == columns)


def _lines(root: Path) -> list[Entry]:
    try:
        return list(checked_objects(read_regular(root / INDEX_FILE)))
    except (OSError, StoreError):
        return []  # absent or unreadable: every row is made from its record


def _compact(root: Path, entries: list[Entry]) -> None:
    """Rewrite the index without the lines of removed and rewritten records."""
    with contextlib.suppress(StoreError):
        write_atomically(root / INDEX_FILE, _text(e for e in entries if e["file"] is not None))


def _text(entries: Iterable[Entry]) -> bytes:
    return b"".join(checked_line(e) for e in entries)


def _identity(path: Path | str) -> list[int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return [about.st_ino, about.st_mtime_ns, about.st_size]
