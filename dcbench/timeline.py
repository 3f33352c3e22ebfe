"""Reads the timeline that Horovod writes: when each rank was ready in each step, and what then happened to gradients.

It knows the file (events of Chrome's trace format, times in µs), not how a run is made or drawn.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcbench.errors import StoreError

NEGOTIATION, WHOLE = "NEGOTIATE_ALLREDUCE", "ALLREDUCE"
_ITEM_BYTES = {"bfloat16": 2}  # what NumPy does not know
_WRITTEN_BY = "give the file that the knob HOROVOD_TIMELINE of a finished run names"


@dataclass(frozen=True, eq=False, repr=False)
class Timeline:
    """
    The all-reduces of one run's gradients, as rank 0 saw them; tensors that are reduced less often are left out.

    Attributes
    ----------
    phases : DataFrame
        Columns ``step`` (from 0, warm-up included), ``tensor``, ``phase`` (Horovod's name), ``start_s``, ``end_s``.
    ready : DataFrame
        Columns ``step``, ``tensor``, ``rank``, ``at_s``: when rank 0 learned that a rank had a gradient. Horovod
        writes this at every step only if the knob ``HOROVOD_CACHE_CAPACITY`` is 0.
    tensors : DataFrame
        By tensor: ``dtype`` on the wire, ``shape``, ``bytes``.
    """

    phases: pd.DataFrame
    ready: pd.DataFrame
    tensors: pd.DataFrame

    def __repr__(self) -> str:
        count = self.phases["step"].nunique()
        return f"<Timeline: {count} steps, {len(self.tensors)} gradients, {self.bytes_per_step:,} bytes a step>"

    @property
    def bytes_per_step(self) -> int:
        """Bytes of all gradients of one rank in one step, as they are sent."""
        return int(self.tensors["bytes"].sum())

    def steps(self) -> pd.DataFrame:
        """
        Return what each rank did in each step that has one before it.

        Returns
        -------
        DataFrame
            Columns ``step``, ``rank``, ``start_s`` (the step before has ended), ``ready_s`` (the last gradient of this
            rank is there), ``all_ready_s`` (that of the slowest rank is) and ``end_s`` (the last all-reduce has ended);
            empty where the file does not say when ranks were ready.
        """
        ends = self.phases.groupby("step")["end_s"].max()
        found = self.ready.groupby(["step", "rank"], as_index=False).agg(ready_s=("at_s", "max"))
        found["start_s"] = found["step"].sub(1).map(ends)
        found["all_ready_s"] = found.groupby("step")["ready_s"].transform("max")
        found["end_s"] = found["step"].map(ends)
        order = ["step", "rank", "start_s", "ready_s", "all_ready_s", "end_s"]
        return found.dropna().reset_index(drop=True)[order]

    def shares(self) -> pd.Series:
        """
        Return the shares of a typical step that a rank computes, waits for the slowest rank, and exchanges gradients.

        Returns
        -------
        Series
            ``compute``, ``wait``, ``exchange``: medians over the steps of the means over ranks, divided by their sum.
        """
        steps = self.steps()
        parts = pd.DataFrame({
            "compute": steps["ready_s"] - steps["start_s"],
            "wait": steps["all_ready_s"] - steps["ready_s"],
            "exchange": steps["end_s"] - steps["all_ready_s"],
        })  # fmt: skip
        typical = parts.groupby(steps["step"]).mean().median()
        return typical / typical.sum()


def read_timeline(path: str | Path) -> Timeline:
    """
    Read a file that Horovod wrote because of the knob ``HOROVOD_TIMELINE``.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    StoreError
        If there is no such file, or if it holds no all-reduce.

    Notes
    -----
    Format: https://horovod.readthedocs.io/en/stable/timeline.html. The gradients are the tensors that are reduced
    most often.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip().rstrip(",")
    except OSError as error:
        raise StoreError(f"the timeline {str(path)!r} cannot be read ({error.strerror}); {_WRITTEN_BY}") from error
    try:
        events = json.loads(text if text.endswith("]") else text + "]")  # of a run that was ended, it is open
        phases, ready, tensors = _collected(events)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise StoreError(f"{str(path)!r} is no timeline of Horovod ({error}); {_WRITTEN_BY}") from error
    if phases.empty:
        raise StoreError(f"the timeline {str(path)!r} holds no all-reduce; {_WRITTEN_BY}")
    return Timeline(phases, ready, tensors)


def _collected(events: Iterable[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the phases, the moments of readiness and the tensors of all-reduces that have ended."""
    opened: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    done: Counter[int] = Counter()
    phases, ready, about = [], [], {}
    for event in events:
        kind, tensor = event["ph"], event.get("pid", -1)
        if kind == "B":
            opened[tensor].append((event["name"], event["ts"]))
        elif kind == "X" and event["name"].isdecimal():
            ready.append((done[tensor], tensor, int(event["name"]), event["ts"] / 1e6))
        elif kind == "E":
            name, since = opened[tensor].pop()
            phases.append((done[tensor], tensor, name, since / 1e6, event["ts"] / 1e6))
            if name == WHOLE:
                done[tensor] += 1
                about[tensor] = event["args"]
    kept = [t for t, count in done.items() if count == max(done.values())]
    tables = (
        pd.DataFrame(phases, columns=["step", "tensor", "phase", "start_s", "end_s"]),
        pd.DataFrame(ready, columns=["step", "tensor", "rank", "at_s"]),
    )
    last = max((done[t] for t in kept), default=0)
    first, second = (t[t["tensor"].isin(kept) & (t["step"] < last)].reset_index(drop=True) for t in tables)
    return first, second, _described({t: about[t] for t in kept})


def _described(about: dict[int, dict[str, str]]) -> pd.DataFrame:
    rows = []
    for tensor, said in sorted(about.items()):
        shape = tuple(json.loads(said["shape"]))
        item = _ITEM_BYTES.get(said["dtype"]) or np.dtype(said["dtype"]).itemsize
        rows.append({"tensor": tensor, "dtype": said["dtype"], "shape": shape, "bytes": item * int(np.prod(shape))})
    return pd.DataFrame(rows, columns=["tensor", "dtype", "shape", "bytes"]).set_index("tensor")
