"""Clocks and the log of steps: every rank times itself on the monotonic clock and writes what it saw in batches.

It knows nothing of models or of how devices work together.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcbench.store.files import explained

FLUSH_S = 0.25


class Diverged(Exception):
    """A loss is not a finite number."""


class EventFile:
    """
    Append whole lines of JSON to the run's event file.

    Parameters
    ----------
    path : Path
    rank : int
        The process that writes.

    Raises
    ------
    StoreError
        Of each call where the folder cannot be written, or is full.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self.rank = rank
        self.host = socket.gethostname()
        self._path = path
        with explained(f"write {path.name}", path.parent):
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, *events: dict[str, Any]) -> None:
        """Write events in one call, so that lines of several ranks never mix."""
        common = {"rank": self.rank, "host": self.host, "t_s": round(time.monotonic(), 6)}
        text = "".join(json.dumps(common | e, separators=(",", ":")) + "\n" for e in events)
        data = text.encode()
        with explained(f"write {self._path.name}", self._path.parent):
            while data:  # a nearly full disk takes less than it is given, and then says why
                data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class StepLog:
    """
    Time steps and write them to the event file in batches of at least `FLUSH_S`.

    Parameters
    ----------
    events : EventFile
    phase : str
        ``"train"`` or ``"warmup"``.
    ranks : sequence of int
        Devices of this process, in the order of a loss vector.
    each_step : bool
        Whether a step's results are complete when its call returns (CPU), or are waited for after each step;
        else the device is waited for once a batch and its time is shared equally by the steps of the batch.
    """

    def __init__(self, events: EventFile, phase: str, ranks: Sequence[int], each_step: bool) -> None:
        self._events, self._phase, self._ranks, self._each_step = events, phase, list(ranks), each_step
        self._waiting: list[Any] = []
        self._ends: list[float] = []
        self._next_index = 0
        self._mark = self._flushed = 0.0
        self.busy_s = 0.0
        self.step_s: list[float] = []

    def start(self) -> None:
        """Start the clock, also again after a pause."""
        self._mark = self._flushed = time.perf_counter()

    def add(self, losses: Any) -> None:
        """
        Take note of the call that has just returned.

        Parameters
        ----------
        losses : tf.Tensor, shape (steps of the call, devices of this process)
        """
        if self._each_step:  # on a GPU, asking would wait for the step
            losses = np.asarray(losses)
            ended = not math.isfinite(sum(losses.ravel().tolist()))
        else:
            ended = False
        now = time.perf_counter()
        self._waiting.append(losses)
        self._ends.append(now)
        if ended or now - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Wait for the device, and write the batch."""
        if not self._waiting:
            return
        calls = [np.asarray(w) for w in self._waiting]
        losses, ends = np.concatenate(calls), self._ends
        durations = self._durations([len(c) for c in calls], ends, time.perf_counter())
        self._waiting, self._ends = [], []
        finite = np.isfinite(losses).all(axis=1)
        good = len(finite) if finite.all() else int(np.argmin(finite))
        self._write(losses[:good], durations[:good])
        if good < len(finite):
            raise Diverged(f"the loss became {losses[good].tolist()} at step {self._next_index} ({self._phase})")
        now = time.perf_counter()
        self.busy_s += now - self._mark
        self._mark = self._flushed = now

    def _write(self, losses: np.ndarray, durations: np.ndarray) -> None:
        common = {"phase": self._phase, "index": self._next_index}
        rows = [{"rank": r, "loss": _short(losses[:, i])} for i, r in enumerate(self._ranks)]
        self._events.write(common | {"step_s": _short(durations)}, *(common | row for row in rows))
        self.step_s += durations.tolist()
        self._next_index += len(losses)

    def _durations(self, steps: list[int], ends: list[float], completed: float) -> np.ndarray:
        if self._each_step:
            per_call = np.diff([self._mark, *ends])
            return np.repeat(per_call / steps, steps)
        return np.full(sum(steps), (completed - self._mark) / sum(steps))


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{v:.7g}") for v in values.tolist()]  # Python's own are written faster
