"""One run, watched from its directory: each update reads what its event file has added since the last."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench import hardware, store
from dcbench.errors import DcbenchError, StoreError
from dcbench.record import Record
from dcbench.store.runs import RECORD_FILE, read_json
from dcbench.watching.thinned import Thinned
from dcbench.watching.use import Meter, Use

if TYPE_CHECKING:
    from dcbench.launch import Handle

UNDER_WAY = "under way"
STRAGGLER = 1.2  # a rank is named that takes more than this many times the others' step time
_SHORTEST_WINDOW_S, _MOST_WINDOWS = 0.25, 400


class Watch:
    """
    A run as its directory shows it.

    Parameters
    ----------
    run : Handle, Record, str or Path
        A run's handle, its record, its id or its directory.
    root : Path, optional
        Folder of all runs.

    Attributes
    ----------
    run_id : str
    run_dir : Path or None
        None for a record without one.
    spec : dict
        As from ``RunSpec.to_dict``.
    owner : dict or None
        The process that makes the run (``pid``, ``host``).
    stage : str
        What rank 0 is doing, such as ``"warming up"``.
    status : str
        ``"under way"``, a record's status, ``"interrupted"`` where the run's process has gone without a record,
        ``"deleted"`` where the directory was removed while it was watched, ``"damaged"`` where the record cannot be
        read.
    reason : str
        Why it ended, where that was not well.
    record : Record or None
    losses, step_times : dict of int to Thinned
        Of the timed block: losses by device, step times (s) by process.
    tests : list of (int, float, float or None)
        Step, test loss and test accuracy.
    pids : dict of int to int
        Worker process of each rank.

    Raises
    ------
    StoreError
        If there is no such run.
    """

    def __init__(self, run: Handle | Record | str | Path, root: Path | None = None) -> None:
        self.stage, self.status, self.reason = "starting", UNDER_WAY, ""
        self.losses: dict[int, Thinned] = {}
        self.step_times: dict[int, Thinned] = {}
        self.tests: list[tuple[int, float, float | None]] = []
        self.pids: dict[int, int] = {}
        self.record: Record | None = None
        self.owner: dict[str, Any] | None = None
        self.run_dir: Path | None = None
        self._warmup: dict[int, int] = {}
        self._hosts: dict[int, str] = {}
        self._clock: dict[int, list[float]] = {}  # of each rank: begin and last step of the timed block
        self._offset, self._handle, self._meter = 0, None, None
        self._machine: dict[str, Any] | None = None
        if isinstance(run, Record):
            self._end(run)
        else:
            self._open(run, root)

    def _open(self, run: Any, root: Path | None) -> None:
        if isinstance(run, str | Path):
            found = store.find_run(run, root)
            self.run_dir = (found.parent if found.is_file() else found).resolve()
        else:
            self._handle, self.run_dir = run, run.run_dir
        self.run_id = self.run_dir.name
        self.owner = store.owner(self.run_dir)
        try:
            self.spec = read_json(self.run_dir / "spec.json")
        except StoreError:
            self.spec = store.load_record(self.run_dir).spec  # recorded runs may come without it
        _check(self.run_id, self.spec)

    def __repr__(self) -> str:
        return f"<Watch {self.run_id}: {self.stage if self.status == UNDER_WAY else self.status}>"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status != UNDER_WAY

    def update(self) -> bool:
        """
        Read what was added since.

        Returns
        -------
        bool
            Whether anything has changed.
        """
        if self.ended or self.run_dir is None:
            return False
        before = self.stage
        lives = store.is_owned(self.run_dir)  # asked first: whoever ended by now has written all it will
        events, self._offset = store.read_events(self.run_dir / "events.jsonl", self._offset)
        for event in events:
            with contextlib.suppress(TypeError, ValueError, KeyError):  # a foreign line
                self._take(event)
        if self._handle is not None and self._handle.status.startswith("waiting"):
            self.stage = self._handle.status  # no file tells
        elif self.stage.startswith("waiting"):
            self.stage = "starting"
        self._judge(lives)
        return bool(events) or self.ended or self.stage != before

    def _judge(self, lives: bool) -> None:
        assert self.run_dir is not None
        try:
            if self._handle is not None and self._handle.done:
                self._end(self._handle.result())
            elif (self.run_dir / RECORD_FILE).exists():
                self._end(store.load_record(self.run_dir))
            elif not self.run_dir.is_dir() or (self.owner and store.owner(self.run_dir) is None):
                self.status = "deleted"
                self.reason = f"its directory {self.run_dir} was removed while it was watched"
            elif not lives:
                self.status = "interrupted"
                self.reason = "the process that made it has gone, and left no record"
        except DcbenchError as error:
            self.status, self.reason = "damaged", str(error)

    def _end(self, record: Record) -> None:
        self.record, self.status, self.reason = record, record.status, record.reason
        self.run_id, self.spec, self.stage = record.run_id, record.spec, record.status
        _check(self.run_id, self.spec)
        if self.run_dir is None and record.path:
            self.run_dir = Path(record.path)
        if not self.step_times and not self.losses:
            self._take_samples(record)

    def _take_samples(self, record: Record) -> None:
        for series in record.samples:
            into = {"loss": self.losses, "step_s": self.step_times}.get(series.phase)
            if into is not None:
                into.setdefault(series.rank, Thinned()).add(series.values)
            elif series.phase == "test_accuracy":
                self.tests += [(s, math.nan, v) for s, v in zip(series.indices(), series.values, strict=True)]

    def _take(self, event: Mapping[str, Any]) -> None:
        rank, phase = int(event["rank"]), event.get("phase")
        if not 0 <= rank < self.spec["devices"]:
            return
        if "state" in event:
            self._enter(rank, event)
        elif phase == "warmup" and "step_s" in event:
            self._warmup[rank] = int(event["index"]) + len(event["step_s"])
        elif phase == "test":
            accuracy = float(event["accuracy"]) if "accuracy" in event else None
            self.tests.append((int(event["index"]), float(event["loss"]), accuracy))
        elif phase == "train" and "loss" in event:
            _extend(self.losses, rank, event["index"], event["loss"])
        elif phase == "train" and "step_s" in event:
            _extend(self.step_times, rank, event["index"], event["step_s"])
            self._clock.setdefault(rank, [math.nan, math.nan])[1] = float(event["t_s"])

    def _enter(self, rank: int, event: Mapping[str, Any]) -> None:
        if rank == 0:
            self.stage = str(event["state"])
        if event["state"] == "training":
            self._clock[rank] = [float(event["t_s"]), math.nan]
        if "pid" in event:
            self.pids[rank], self._hosts[rank] = int(event["pid"]), str(event["host"])

    @property
    def slowest(self) -> int | None:
        """The rank that holds the others up: that with the fewest steps, then with the longest time; None before the
        first step."""
        return min(self.step_times, key=lambda r: (self.step_times[r].count, -self.step_times[r].total), default=None)

    @property
    def steps_done(self) -> int:
        """Timed steps of the slowest rank."""
        slowest = self.slowest
        return 0 if slowest is None else self.step_times[slowest].count

    @property
    def steps_total(self) -> int | None:
        """Timed steps asked for; a target accuracy may end them early. None where epochs were asked for."""
        steps = self.spec.get("steps")
        return steps if isinstance(steps, int) else self.steps_done if self.ended else None

    @property
    def warmup_steps(self) -> int:
        """Warm-up steps of the slowest rank."""
        return min(self._warmup.values(), default=0)

    @property
    def left_s(self) -> float | None:
        """Time until the last step (s), at the mean pace so far, evaluations included; None where it is not known."""
        begin, last = self._clock.get(self.slowest, (math.nan, math.nan)) if self.slowest is not None else (0.0, 0.0)
        if self.ended or self.steps_total is None or not self.steps_done or not last > begin:
            return None
        return max(0, self.steps_total - self.steps_done) * (last - begin) / self.steps_done

    @property
    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """
        Throughput over time, by the slowest rank.

        Returns
        -------
        numpy.ndarray
            End of each window (s of training, evaluations left out), windows of at least a quarter of a second.
        numpy.ndarray
            Examples of all devices per second in it.
        """
        if self.slowest is None or not len(self.step_times[self.slowest].means):
            return np.empty(0), np.empty(0)
        times = self.step_times[self.slowest]
        taken_s = times.means * times.stride
        ends_s = np.cumsum(taken_s)
        width_s = _SHORTEST_WINDOW_S
        while ends_s[-1] > _MOST_WINDOWS * width_s:
            width_s *= 2
        starts = np.unique(np.floor((ends_s - taken_s / 2) / width_s), return_index=True)[1]
        steps = np.diff([*starts, len(taken_s)]) * times.stride
        return ends_s[[*(starts[1:] - 1), -1]], steps * self.spec["global_batch"] / np.add.reduceat(taken_s, starts)

    @property
    def straggler(self) -> tuple[int, float] | None:
        """The rank whose median step takes over ``STRAGGLER`` times as long as the others', and how many times."""
        medians = {r: float(np.nanmedian(t.means)) for r, t in self.step_times.items() if len(t.means)}
        if len(medians) < 2:
            return None
        rank = max(medians, key=lambda r: medians[r])
        times = medians[rank] / float(np.median([m for r, m in medians.items() if r != rank]))
        return (rank, times) if times > STRAGGLER else None

    def usage(self) -> list[Use]:
        """Return what each process on this host uses now; empty where the run has ended."""
        here = socket.gethostname()
        pids = {r: p for r, p in self.pids.items() if self._hosts[r] == here}
        if self.ended or not pids:
            return []
        self._meter = self._meter or Meter(self.spec)
        return self._meter.look(pids)

    def as_record(self) -> Record:
        """Return the record, or before there is one a stand-in of status ``"running"``: its spec and its machine."""
        if self.record is not None:
            return self.record
        if self._machine is None:
            is_here = self.owner is not None and self.owner.get("host") == socket.gethostname()
            self._machine = hardware.inspect_machine().to_dict() if is_here else {}
        return Record(self.run_id, self.spec, str(self.spec.get("spec_hash", "")), machine=self._machine)


def _check(run_id: str, spec: Any) -> None:
    for name in ("devices", "global_batch"):
        value = spec.get(name) if isinstance(spec, dict) else None
        if not isinstance(value, int) or value < 1:
            raise StoreError(f"the specification of run {run_id!r} is damaged: {name} is {value!r}; it cannot be shown")


def _extend(into: dict[int, Thinned], rank: int, index: Any, values: Iterable[float]) -> None:
    """Add the values of steps from `index` on, without those that are there already."""
    series = into.setdefault(rank, Thinned())
    new = np.asarray(values, dtype=float)
    if new.ndim == 1 and index <= series.count:
        series.add(new[series.count - index :])
    elif new.ndim == 1:
        series.add(new)  # a line before it was lost
