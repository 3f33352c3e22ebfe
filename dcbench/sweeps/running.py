"""A sweep under way: a thread that makes one run after another, tells how far it is, and can be cancelled."""

from __future__ import annotations

import logging
import os
import statistics
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dcbench import hardware, store
from dcbench.errors import StoreError
from dcbench.launch import ending
from dcbench.launch.handle import WORKER, Handle, run  # registers its end of process first, so that ours comes before
from dcbench.launch.waiting import Waiting
from dcbench.record import Record
from dcbench.spec import RunSpec
from dcbench.sweeps import checks, holding, order
from dcbench.sweeps.outcome import Progress, SweepResult

MOST_REPEATS = 10_000
_log = logging.getLogger("dcbench")
_sweeps: weakref.WeakSet[Sweep] = weakref.WeakSet()


def sweep(
    specs: Sequence[RunSpec],
    repeats: int = 5,
    seed: int = 0,
    canary: RunSpec | bool | None = None,
    resume: bool = True,
    root: Path | None = None,
    on_wait: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    _entry: str = WORKER,
) -> Sweep:
    """
    Start to run each configuration several times, in interleaved order, and return at once.

    Parameters
    ----------
    specs : sequence of RunSpec
        As from `grid`; equal ones count once.
    repeats : int
        Runs of each configuration.
    seed : int
        Of the order.
    canary : RunSpec or False, optional
        Runs three times before and after all else, to show a drift of the machine: unless given, a configuration of
        backend ``"single"`` without a target accuracy if there is one, the same for every order; none for False.
    resume : bool
        Go on with the newest sweep of the same configurations, seed, canary, machine and versions, if it is unfinished
        or had fewer repeats; runs that failed are then tried once more.
    root : Path, optional
        Folder of all runs; `dcbench.store.root` unless given.
    on_wait : callable, optional
        Called with a sentence when a run must wait for another measurement; logged unless given.
    on_progress : callable, optional
        Called with a `Progress` before the first run and after each.

    Returns
    -------
    Sweep
        ``await`` it in a notebook, or call its `result`.

    Raises
    ------
    SpecError, BackendUnavailable
        If any configuration cannot run on this machine; nothing has been started then.
    StoreError
        If the same sweep is under way already.
    """
    kept = checks.specs(specs)
    chosen = checks.canary(canary, kept)
    repeats = checks.count("repeats", repeats, 1, MOST_REPEATS)
    seed = checks.count("seed", seed, 0, 2**31 - 1)
    machine = hardware.inspect_machine()
    for spec in [*kept, *([chosen] if chosen else [])]:
        checks.runs_here(spec, machine)
    planned = order.plan(kept, repeats, seed, chosen)
    key = order.key(kept, seed, chosen, machine)
    made = Sweep(planned, key, seed, root, {"on_wait": on_wait or _log.warning, "_entry": _entry}, on_progress, resume)
    made._thread.start()
    return made


def running_sweep(sweep_id: str | None = None) -> Sweep | None:
    """Return the sweep of that name, or any, the newest first, if this process makes it and it is under way."""
    found = (s for s in list(_sweeps) if not s.done and sweep_id in (None, s.sweep_id))
    return max(found, key=lambda s: s.sweep_id, default=None)


class Sweep(Waiting[SweepResult]):
    """
    A sweep under way.

    Attributes
    ----------
    sweep_id : str
    key : str
        What it is resumed by.
    root : Path
        Folder of all runs.
    """

    def __init__(
        self,
        planned: list[order.Planned],
        key: str,
        seed: int,
        root: Path | None,
        how: dict[str, Any],
        on_progress: Callable[[Progress], None] | None,
        resume: bool,
    ) -> None:
        super().__init__()
        self.key, self._seed, self._how, self._on_progress = key, seed, how, on_progress
        self.root = (store.root() if root is None else Path(root)).resolve()
        self._lock = threading.RLock()
        self._stopped = ""
        self._current: tuple[Handle, float] | None = None
        self._held = holding.hold(key, self.root)
        try:
            self._plan(planned, resume)
        except BaseException:
            self._held.close()
            raise
        self._thread = threading.Thread(target=self._work, name=f"dcbench sweep {self.sweep_id}", daemon=True)
        _sweeps.add(self)

    def _plan(self, planned: list[order.Planned], resume: bool) -> None:
        """Find what is left to do, and in which sweep."""
        rows = order.unfinished(store.load_records(self.root), self.key, planned) if resume else None
        self._seconds: dict[str, list[float]] = {}
        self._failed, well = 0, set()
        self.sweep_id = store.new_id() if rows is None else str(rows["sweep"].iloc[0])
        if rows is not None:
            planned = order.without_passed(planned, rows)
            ended = rows[rows["status"] == "ok"]
            well = set(ended["sweep_place"])
            for spec_hash, duration_s in zip(ended["spec_hash"], ended["duration_s"], strict=True):
                self._seconds.setdefault(spec_hash, []).append(duration_s)
        self._todo = [p for p in planned if p.place not in well]
        self._hashes = [p.spec.hash for p in self._todo]  # kept: the time left is asked for often
        self._total, self._resumed = len(planned), len(planned) - len(self._todo)
        self._done = self._resumed

    def __repr__(self) -> str:
        return f"<Sweep {self.sweep_id}: {'ended' if self.done else 'under way'}, {self.progress}>"

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        with self._lock:
            now = self._current
            passed_s = time.monotonic() - now[1] if now else 0.0
            spec = now[0].spec if now else None
            return Progress(self._done, self._failed, self._total, self._resumed, self._left_s(passed_s), spec)

    @property
    def running(self) -> Handle | None:
        """The run under way."""
        now = self._current
        return now[0] if now else None

    @property
    def stopping(self) -> str:
        """Why no further run will start: ``"cancelled"`` or ``"interrupted"``; empty where nothing speaks against."""
        return self._stopped

    def _left_s(self, passed_s: float) -> float | None:
        left = self._hashes[self._done - self._resumed :]
        if not self._seconds:
            return None if left else 0.0
        typical = {spec_hash: statistics.median(seen) for spec_hash, seen in self._seconds.items()}
        other = statistics.median(typical.values())
        expected = [typical.get(spec_hash, other) for spec_hash in left]
        return sum(expected) - min(passed_s, *expected[:1]) if expected else 0.0

    def quiet(self) -> None:
        """Log no more what its runs wait for, as somebody shows it; an `on_wait` that was given is still called."""
        self._how |= {"on_wait": lambda sentence: None} if self._how["on_wait"] == _log.warning else {}

    def cancel(self, after_run: bool = False) -> None:
        """
        End it early; the same call of `sweep` goes on later.

        Parameters
        ----------
        after_run : bool
            Let the run under way come to its end first.
        """
        self._stop("cancelled")
        now = self.running
        if now is not None and not after_run:
            now.cancel()

    def _stop(self, why: str) -> None:
        with self._lock:  # a run that is just being started is then known
            self._stopped = self._stopped or why

    def _work(self) -> None:
        try:
            with self._held:
                self._tell()
                for planned, spec_hash in zip(self._todo, self._hashes, strict=True):
                    checks.unchanged(planned.spec, spec_hash, self.sweep_id)
                    if not self._one(planned):
                        break
                found = self._outcome()
        except BaseException as error:  # whoever waits must learn of it
            self._future.set_exception(error)
        else:
            self._future.set_result(found)

    def _one(self, planned: order.Planned) -> bool:
        """Make one run; return whether it was one that counts."""
        place = {"id": self.sweep_id, "key": self.key, "seed": self._seed, "round": planned.round}
        place |= {"place": planned.place, "canary": planned.canary, "total": self._total}
        with self._lock:
            if self._stopped:
                return False
            handle = run(planned.spec, root=self.root, sweep=place, **self._how)
            self._current = handle, time.monotonic()
        record = handle.result()
        with self._lock:
            self._current = None
            if record.status in order.OPEN:
                self._stopped = self._stopped or record.status  # a person may have ended just this run
                return False
            self._count(record)
        self._tell()
        if handle.disk_error:
            far = f"{self._done} of {self._total} runs"
            raise StoreError(f"{handle.disk_error}; the sweep ended after {far}, the same call of sweep goes on there")
        return True

    def _count(self, record: Record) -> None:
        self._done += 1
        self._failed += not record.ok
        if record.ok:
            self._seconds.setdefault(record.spec_hash, []).append(record.duration_s)

    def _tell(self) -> None:
        if self._on_progress is not None:
            try:
                self._on_progress(self.progress)
            except Exception:
                _log.exception("sweep %s: on_progress failed; the sweep goes on", self.sweep_id)

    def _outcome(self) -> SweepResult:
        early = ""
        if self._done < self._total:
            early = f"{self._stopped} after {self._done} of {self._total} runs; the same call of sweep goes on there"
        try:
            records = store.load_sweep(self.sweep_id, self.root)
        except StoreError:
            if self._done:
                raise
            records = []  # it was stopped before its first run
        return SweepResult.from_records(records, self.sweep_id, early)


def _end_all() -> None:
    """Start no further run while this process ends; the launcher ends those under way."""
    for each in list(_sweeps):
        each._stop("interrupted")


ending.at_end(_end_all)
os.register_at_fork(after_in_child=_sweeps.clear)
