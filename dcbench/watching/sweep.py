"""A sweep as it stands: from its handle where this process makes it, else from what its runs have left on disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dcbench import store
from dcbench.errors import DcbenchError, StoreError
from dcbench.launch import lock
from dcbench.store.index import run_directories
from dcbench.store.runs import RECORD_FILE, read_json
from dcbench.store.table import SAMPLES
from dcbench.sweeps import SweepResult, holding, running
from dcbench.sweeps.order import OPEN
from dcbench.sweeps.outcome import Progress
from dcbench.watching.run import UNDER_WAY

if TYPE_CHECKING:
    from dcbench.launch import Handle
    from dcbench.sweeps.running import Sweep

COMPLETE, ENDED, DELETED, BROKEN = "complete", "ended", "deleted", "failed"
MOST_SHARE = 0.005  # of a core, for reading what runs have left
_SECOND = len("20260102T030405")  # of a name, which begins with its time


class SweepWatch:
    """
    A sweep, and what has come of it so far.

    Parameters
    ----------
    sweep : Sweep or str, optional
        A sweep's handle or id; unless given, the newest under way in this process, else the newest in the store.
    root : Path, optional
        Folder of all runs.

    Attributes
    ----------
    sweep_id : str
    handle : Sweep or None
        Where this process makes it.
    status : str
        ``"under way"``, ``"complete"``, ``"ended"`` before its end or without a word of how many runs were planned,
        ``"deleted"`` where its records were removed while it was watched, ``"failed"`` where it could not be made.
    reason : str
        What to know of a status.
    rows : DataFrame
        Its runs so far, in the order of time; read seldom enough to take no more than ``MOST_SHARE`` of a core.
    progress : Progress
        Of a sweep that another process makes, its `spec` is unknown; see `doing`.
    doing, waits : str
        What runs now, and what it waits for, as far as is known.
    run : Handle or Path or None
        The run under way: its handle, or its directory where another process makes it.
    owner : int or None
        The other process that makes it.

    Raises
    ------
    StoreError
        If there is no such sweep.
    """

    def __init__(self, sweep: Sweep | str | None = None, root: Path | None = None) -> None:
        self.handle = running.running_sweep(sweep) if sweep is None or isinstance(sweep, str) else sweep
        self.root = self.handle.root if self.handle else store.samples() if sweep == SAMPLES else root or store.root()
        self.status, self.reason, self.doing, self.waits = UNDER_WAY, "", "", ""
        self.run: Handle | Path | None = None
        self.owner: int | None = None
        self.rows = pd.DataFrame({"status": [], "reason": []})
        self._read_s, self._read_done = 0.0, -1
        self._planned: int | None = None
        self._superseded = False  # the same sweep has been begun anew
        if self.handle:
            self.sweep_id, self.key = self.handle.sweep_id, self.handle.key
        else:
            newest = _newest(None if sweep == SAMPLES else str(sweep) if sweep else None, self.root)
            self.sweep_id, self.key = str(newest["sweep"]), str(newest["sweep_key"])
        self.progress = self.handle.progress if self.handle else Progress(0, 0, 0, 0, None, None)
        self.update()

    @property
    def ended(self) -> bool:
        """Whether no more runs will come by themselves."""
        return self.status != UNDER_WAY

    def failed(self) -> pd.DataFrame:
        """Return the runs that failed by themselves."""
        return self.rows[~self.rows["status"].isin(("ok", *OPEN))]

    def result(self) -> SweepResult:
        """
        Return the runs of the sweep as they are now, and what to know of them; reads all their samples.

        Raises
        ------
        StoreError
            If they have been removed, or the sweep could not be kept.
        """
        if self.handle and self.handle.done:
            return self.handle.result()
        early = self.reason if self.status == ENDED else ""
        return SweepResult.from_records(store.load_sweep(self.sweep_id, self.root), self.sweep_id, early)

    def update(self) -> bool:
        """
        Look again.

        Returns
        -------
        bool
            Whether anything has changed, be it only the time left, as it is said.
        """
        if self.ended:
            return False
        before = self._seen()
        self.owner = None if self.handle else self._holder()
        made = not self.handle.done if self.handle else self.owner is not None and not self._superseded
        if self.handle:
            self._ask(self.handle)
        if not made or (time.monotonic() >= self._read_s and self.progress.done != self._read_done):
            self._read()  # asked before it: whoever has ended has written all
        if not made:
            self._judge()
        return self._seen() != before

    def _seen(self) -> tuple[object, ...]:
        return self.status, str(self.progress), self.doing, self.waits, self.run, self.owner, len(self.rows)

    def _holder(self) -> int | None:
        """Return the process that makes the sweep; what a record calls its key may be anything."""
        return lock.held_by(holding.lock_path(self.key, self.root)) if store.is_run_id(self.key) else None

    def _ask(self, handle: Sweep) -> None:
        self.progress, self.run = handle.progress, handle.running
        self.doing = self.progress.doing
        state = self.run.status if self.run is not None else ""
        self.waits = state if state.startswith("waiting") else ""

    def _read(self) -> None:
        """Read what the runs have left."""
        began_s = time.thread_time()
        table = store.load_records(self.root)
        alike = table[table["sweep_key"] == self.key]
        self.rows = alike[alike["sweep"] == self.sweep_id]
        self._superseded = len(alike) > 0 and alike["sweep"].iloc[-1] != self.sweep_id
        if self.handle is None:
            self._gather()
        else:
            self._read_done = self.progress.done
        self._read_s = time.monotonic() + (time.thread_time() - began_s) / MOST_SHARE

    def _gather(self) -> None:
        """Say from the rows alone how far another process's sweep is; rows without a place each count."""
        if self.rows.empty:
            return
        well = self.rows.assign(ok=self.rows["status"] == "ok").sort_values(["sweep_place", "ok"], kind="stable")
        again = well["sweep_place"].notna() & well.duplicated("sweep_place", keep="last")
        each = well[~again]
        ended = each[~each["status"].isin(OPEN)]
        self._planned = _planned(self.root / str(self.rows["run_id"].iloc[-1]))
        total, typical_s = max(self._planned or 0, len(ended)), ended.loc[ended["ok"], "duration_s"].median()
        left_s = (total - len(ended)) * typical_s if self.owner and pd.notna(typical_s) else None
        self.progress = Progress(len(ended), int((~ended["ok"]).sum()), total, 0, left_s, None)
        self.run = self._run_of(self.owner) if self.owner else None
        self.doing = _doing(self.run) if self.run else ""

    def _run_of(self, pid: int) -> Path | None:
        """Return the directory of the run that a process makes now."""
        since = str(self.rows["run_id"].iloc[-1])[:_SECOND]
        for run_dir in reversed(run_directories(self.root)):
            if run_dir.name < since:
                return None
            if not (run_dir / RECORD_FILE).exists() and (store.owner(run_dir) or {}).get("pid") == pid:
                return run_dir
        return None

    def _judge(self) -> None:
        """Say how it ended."""
        self.run, self.doing, self.waits = None, "", ""
        self.status, self.reason = COMPLETE, ""
        if self.handle:
            try:
                early = self.handle.result().early
            except DcbenchError as error:
                self.status, self.reason = BROKEN, str(error)
            else:
                self.status, self.reason = (ENDED, early) if early else (COMPLETE, "")
        elif self.rows.empty:
            self.status, self.reason = DELETED, f"its records were removed from {self.root} while it was watched"
        elif self._planned is None:
            self.status, self.reason = (
                ENDED,
                f"{self.progress.done} runs; their records do not say how many were planned",
            )
        elif self.progress.done < self.progress.total:
            far = f"{self.progress.done} of {self.progress.total} runs"
            self.status, self.reason = ENDED, f"it ended after {far}; the same call of sweep goes on there"


def _newest(sweep_id: str | None, root: Path) -> pd.Series:
    """Return the newest run of a sweep, or of any."""
    table = store.load_records(root)
    rows = table[table["sweep"].notna() if sweep_id is None else table["sweep"] == sweep_id]
    if rows.empty:
        store.load_sweep(sweep_id, root)  # says what there is instead
    return rows.iloc[-1]


def _planned(run_dir: Path) -> int | None:
    """Return how many runs a sweep was to have, by the record of one; None where it does not say."""
    try:
        total = store.load_record(run_dir).sweep.get("total")
    except StoreError:
        return None
    return total if isinstance(total, int) else None


def _doing(run_dir: Path) -> str:
    try:
        spec = read_json(run_dir / "spec.json")
        model = spec["model"]["function"] if isinstance(spec["model"], dict) else spec["model"]
        return f"{model}, {spec['backend']} × {spec['devices']}"
    except (StoreError, KeyError, TypeError):
        return ""
