"""`run` and the handle that it returns: a run under way, in a thread that ends in a record."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudpickle

from dcbench import functions, hardware, store
from dcbench.errors import BackendUnavailable, DcbenchError, StoreError
from dcbench.launch import assemble, ending, engine, environment, placement, secrecy
from dcbench.launch.group import Group
from dcbench.launch.lock import measuring
from dcbench.launch.ranks import Job, processes
from dcbench.launch.recovery import recover_once
from dcbench.launch.tasks import Stop
from dcbench.launch.waiting import Waiting
from dcbench.launch.watchdog import EVENTS, Watchdog
from dcbench.record import Record
from dcbench.spec import RunSpec
from dcbench.store.files import for_person

WORKER = "dcbench.worker:main"
EVENT_POLL_S = 0.1
END_LIMIT_S = 10.0
_log = logging.getLogger("dcbench")
_handles: weakref.WeakSet[Handle] = weakref.WeakSet()


def run(
    spec: RunSpec,
    *,
    root: Path | None = None,
    on_wait: Callable[[str], None] | None = None,
    sweep: Mapping[str, Any] | None = None,
    _entry: str = WORKER,
) -> Handle:
    """
    Start a run in worker processes and return at once.

    Parameters
    ----------
    spec : RunSpec
    root : Path, optional
        Folder of all runs; `dcbench.store.root` unless given.
    on_wait : callable, optional
        Called with a sentence when the run must wait for another measurement on this machine; logged unless given.
    sweep : mapping, optional
        The run's place in a sweep, kept in its record.

    Returns
    -------
    Handle
        ``await`` it in a notebook, or call its `result`.

    Raises
    ------
    SpecError, BackendUnavailable
        If this machine or build cannot do what is asked; nothing is written then.
    StoreError
        If the run's directory cannot be made.
    """
    recover_once(root)
    handle = Handle(spec, root, on_wait or _log.warning, dict(sweep or {}), _entry)
    try:
        handle._thread.start()
    except BaseException:  # Ctrl-C: nobody has the handle then
        handle.cancel()
        raise
    return handle


def running(run_id: str) -> Handle | None:
    """Return the run of that name if this process makes it and it is under way."""
    return next((h for h in list(_handles) if h.run_id == run_id and not h.done), None)


class Handle(Waiting[Record]):
    """
    A run under way.

    Attributes
    ----------
    run_id : str
    run_dir : Path
    spec : RunSpec
    status : str
        The stage that rank 0 is in, and the record's status once there is one.
    disk_error : str
        Why its files could not be written, once it has failed of that: so would the next run in that folder.
    """

    def __init__(
        self, spec: RunSpec, root: Path | None, on_wait: Callable[[str], None], sweep: dict[str, Any], entry: str
    ) -> None:
        super().__init__()
        if sys.platform != "linux":
            raise BackendUnavailable(f"trainings run on Linux; this is {sys.platform}; use Linux, WSL or a container")
        self._asked_s, self._asked_utc, self._waited_s = time.monotonic(), datetime.now(UTC), 0.0
        self.spec, self._on_wait, self._sweep = spec, on_wait, sweep
        self._machine = hardware.inspect_machine()
        where = placement.plan(spec, self._machine)
        transport = environment.transport(spec, where.device_type)
        self._environment = environment.base(spec)
        payload = _pack(spec)
        described, self._hidden = secrecy.gather(spec)
        self.run_dir = store.create(described, spec.hash, root, sweep).resolve()
        self.run_id = self.run_dir.name
        self._job = Job(spec, described, self._hidden, payload, where, transport, entry, self.run_dir)
        self.status, self.disk_error = "starting", ""
        self._stop = Stop()
        name = f"dcbench {self.run_id}"
        self._thread = threading.Thread(target=self._work, args=(self._blank(),), name=name, daemon=True)
        _handles.add(self)

    def __repr__(self) -> str:
        return f"<Handle {self.run_id}: {self.status}>"

    def cancel(self) -> None:
        """End the run early; its record keeps what was done."""
        self._stop.set("cancelled")

    def quiet(self) -> None:
        """Log no more what it waits for, as somebody shows it; an `on_wait` that was given is still called."""
        if self._on_wait == _log.warning:
            self._on_wait = _say_nothing

    def events(self) -> Iterator[dict[str, Any]]:
        """
        Yield the run's events as they come, until it ends.

        Yields
        ------
        dict
            Lines of the run's event file.
        """
        offset = 0
        while True:
            last = self.done
            new, offset = store.read_events(self.run_dir / EVENTS, offset)
            yield from new
            if last and not new:
                return
            if not new:
                time.sleep(EVENT_POLL_S)

    def _work(self, record: Record) -> None:
        """Run in the thread: everything from the wait for the machine to the written record."""
        try:
            with measuring(f"run {self.run_id}", lambda: bool(self._stop.reason), self._waiting) as held:
                if self.status.startswith("waiting"):
                    self._waited_s = time.monotonic() - self._asked_s
                group = self._train() if held else None
            self._conclude(record, group)
            self._keep(record)
        except DcbenchError as error:
            self._fail(record, str(error), error)
        except OSError as error:
            told = for_person(error, self.run_dir)
            self._fail(record, str(told) if told is not error else _itself(error), told)
        except BaseException as error:  # whoever waits must learn of it
            self._fail(record, _itself(error), error)
        finally:
            self._stop.close()

    def _train(self) -> Group | None:
        """Start the ranks and watch them to their end; None where that was cancelled before it began."""
        self.status = "starting"
        fork = self.spec.start == "fork"
        with engine.using(self._environment, fork, self._stop) as ready:
            if ready is None:
                return None
            with processes(self._job) as cast:
                watchdog = Watchdog(self.run_dir / EVENTS, self.spec)
                limit_s = self.spec.time_limit_s
                group = Group(ready, cast, self.spec.start, self._stop, limit_s, self._stage, watchdog)
                group.run()
        return group

    def _waiting(self, sentence: str) -> None:
        self.status = sentence
        self._on_wait(f"run {self.run_id}: {sentence}")

    def _stage(self, rank: int, name: str) -> None:
        if rank == 0:
            self.status = name

    def _blank(self) -> Record:
        where = self._job.placement
        return Record(
            run_id=self.run_id,
            spec=self._job.spec_dict,
            spec_hash=self.spec.hash,
            started_utc=self._asked_utc.isoformat(timespec="milliseconds"),
            machine=self._machine.to_dict(),
            placement=where.to_dict() | {"start": self.spec.start, "transport": self._job.transport},
            flags=[f"oversubscribed: {where.oversubscribed}"] if where.oversubscribed else [],
            sweep=self._sweep,
            path=str(self.run_dir),
        )

    def _conclude(self, record: Record, group: Group | None) -> None:
        if self._waited_s:
            waited = f"waited {self._waited_s:.1f} s for another measurement before it began"
            record.flags.append(f"{waited}: that is in none of its times")
        if group is None:
            self._stopped_before_start(record)
            return
        record.status, record.reason = assemble.judge(group)
        starts = {t.start for t in group.tasks if t.start}
        record.placement["start"] = "; ".join(sorted(starts)) or self.spec.start
        try:
            events, _ = store.read_events(self.run_dir / EVENTS, 0)
        except (StoreError, OSError) as error:  # what ended the run is the reason, not this
            events = []
            record.flags.append(f"there are no samples: its events cannot be read ({error})")
        assemble.fill(record, group.tasks, events, self._asked_s + self._waited_s)
        self.disk_error = record.reason if "StoreError" in {w.get("error_kind") for w in record.workers} else ""

    def _stopped_before_start(self, record: Record) -> None:
        record.status = self._stop.reason
        record.reason = f"it was {self._stop.reason} before it started"

    def _keep(self, record: Record) -> None:
        """Write the record, without secrets, then hand it to whoever waits."""
        record.flags += [f for f in secrecy.clear_logs(self.run_dir, self._hidden) if f not in record.flags]
        secrecy.clear_record(record, self._hidden)
        record.duration_s = time.monotonic() - self._asked_s - self._waited_s
        store.write(record, self.run_dir)
        self.status = record.status
        self._future.set_result(record)

    def _fail(self, record: Record, reason: str, error: BaseException) -> None:
        record.status, record.reason, record.metrics = "failed", reason, {}
        self.disk_error = reason if isinstance(error, StoreError) else ""
        try:
            self._keep(record)
        except BaseException:  # there is no place to keep even the failure, or the record itself cannot be kept
            self.status = "failed"
            if not self._future.done():
                self._future.set_exception(error)


def _itself(error: BaseException) -> str:
    return f"dcbench itself failed: {type(error).__name__}: {error}"


def _say_nothing(_sentence: str) -> None:
    """Take the place of a log."""


def _pack(spec: RunSpec) -> bytes:
    """Return the fields that hold functions, serialised for the workers' private channels."""
    own = {n: f for n in ("model", "dataset") if not isinstance(f := getattr(spec, n), str)}
    for function in own.values():
        functions.pack(function)  # refuses what cannot be sent or is too large
    return cloudpickle.dumps(own) if own else b""


def _interrupt_all() -> None:
    """Leave a record of runs that this process's end interrupts."""
    for handle in list(_handles):
        handle._stop.set("interrupted")
    for handle in list(_handles):
        if handle._thread.is_alive():
            handle._thread.join(END_LIMIT_S)
    engine.stop_engines()


def _forget_in_forked_child() -> None:
    _handles.clear()


ending.at_end(_interrupt_all)
os.register_at_fork(after_in_child=_forget_in_forked_child)
