"""Runs on disk: a directory each under one folder, written atomically, listed fast, read with suspicion.

A record ends with the SHA-256 of all before it, and a line of the index with its CRC-32: what was changed or cut off
since is left out by name, never read as other numbers; they are no signature, and a record without one is read as is.

It knows nothing of how a run is made, nor what its numbers mean.
"""

from dcbench.store.begun import create, is_owned, mark_of, owner
from dcbench.store.index import run_directories
from dcbench.store.runs import (
    cache_dir,
    check_removable,
    find_run,
    is_run_id,
    load_record,
    new_id,
    read_events,
    remove,
    root,
    samples,
)
from dcbench.store.table import COLUMNS, Runs, by_time, export, load_records, load_sweep, tidy, write

__all__ = [
    "COLUMNS", "Runs", "by_time", "cache_dir", "check_removable", "create", "export", "find_run", "is_owned",
    "is_run_id", "load_record", "load_records", "load_sweep", "mark_of", "new_id", "owner", "read_events", "remove",
    "root", "run_directories", "samples", "tidy", "write",
]  # fmt: skip
