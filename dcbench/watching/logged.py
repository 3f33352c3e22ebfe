"""What the ranks of a run have logged so far, in few points: losses, step times, tests, and the pace that follows."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dcbench.record import Record
from dcbench.watching.thinned import Thinned

STRAGGLER = 1.2  # a rank is named that takes more than this many times the others' step time
_SHORTEST_WINDOW_S, _MOST_WINDOWS = 0.25, 400
MOST = 2**53  # a whole number beyond it is none of a run, and no axis of a figure


class Logged:
    """
    Takes the events of a run as they come.

    Parameters
    ----------
    spec : dict
        As from ``RunSpec.to_dict``, with a number of devices and a global batch.

    Attributes
    ----------
    stage : str
        What rank 0 is doing, such as ``"warming up"``.
    losses, step_times : dict of int to Thinned
        Of the timed block: losses by device, step times (s) by process.
    tests : list of (int, float, float or None)
        Step, test loss and test accuracy.
    pids, hosts : dict of int
        Worker process of each rank, and where it is.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec, self.stage = spec, "starting"
        self.losses: dict[int, Thinned] = {}
        self.step_times: dict[int, Thinned] = {}
        self.tests: list[tuple[int, float, float | None]] = []
        self.pids: dict[int, int] = {}
        self.hosts: dict[int, str] = {}
        self._warmup: dict[int, int] = {}
        self._clock: dict[int, list[float]] = {}  # of each rank: begin and last step of the timed block (s)

    def take(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take the next events; what is no event of this run is left out."""
        for event in events:
            with contextlib.suppress(TypeError, ValueError, KeyError, OverflowError):
                self._take(event)

    def take_samples(self, record: Record) -> None:
        """Take the samples of a record, where its events are not there."""
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
            self._warmup[rank] = _whole(event["index"]) + len(event["step_s"])
        elif phase == "test":
            accuracy = float(event["accuracy"]) if "accuracy" in event else None
            self.tests.append((_whole(event["index"]), float(event["loss"]), accuracy))
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
            self.pids[rank], self.hosts[rank] = _whole(event["pid"], least=1), str(event["host"])

    @property
    def slowest(self) -> int | None:
        """The rank with the fewest steps, then with the longest time; None before the first step."""
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
        return steps if isinstance(steps, int) and 0 < steps <= MOST else None

    @property
    def warmup_steps(self) -> int:
        """Warm-up steps of the slowest rank."""
        return min(self._warmup.values(), default=0)

    @property
    def left_s(self) -> float | None:
        """Time until the last step (s), at the mean pace so far, evaluations included; None where it is not known."""
        slowest = self.slowest
        if slowest is None or self.steps_total is None or not self.steps_done:
            return None
        begin, last = self._clock.get(slowest, (math.nan, math.nan))
        if not 0 < last - begin < math.inf:
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
        slowest = self.slowest
        if slowest is None or not len(self.step_times[slowest].means):
            return np.empty(0), np.empty(0)
        times = self.step_times[slowest]
        taken_s = times.means * times.stride
        ends_s = np.cumsum(taken_s)
        width_s = _SHORTEST_WINDOW_S
        while ends_s[-1] > _MOST_WINDOWS * width_s:
            width_s *= 2
        starts = np.unique(np.floor((ends_s - taken_s / 2) / width_s), return_index=True)[1]
        steps = np.diff([*starts, len(taken_s)]) * times.stride
        widths_s = np.add.reduceat(taken_s, starts)
        timed = widths_s > 0  # of a clock that stands still, nothing follows
        ends_s = ends_s[[*(starts[1:] - 1), -1]]
        return ends_s[timed], (steps * self.spec["global_batch"])[timed] / widths_s[timed]

    @property
    def straggler(self) -> tuple[int, float] | None:
        """The rank whose median step takes over ``STRAGGLER`` times as long as the others', and how many times."""
        medians = {r: float(np.median(t.means)) for r, t in self.step_times.items() if len(t.means)}
        if len(medians) < 2:
            return None
        rank = max(medians, key=lambda r: medians[r])
        others = float(np.median([m for r, m in medians.items() if r != rank]))
        return (rank, medians[rank] / others) if 0 < STRAGGLER * others < medians[rank] else None


def _extend(into: dict[int, Thinned], rank: int, index: Any, values: Iterable[float]) -> None:
    """Add the values of steps from `index` on, without those that are there already."""
    new, first = np.asarray(values, dtype=float), _whole(index)
    if new.ndim != 1:
        return
    series = into.setdefault(rank, Thinned())
    series.add(new[max(0, series.count - first) :])  # where `first` is beyond, a line before it was lost


def _whole(value: Any, least: int = 0) -> int:
    """Return a whole number; a run has none below `least` or beyond `MOST`."""
    number = int(value)
    if not least <= number <= MOST:
        raise ValueError(f"{value!r} is no number of a run")
    return number
