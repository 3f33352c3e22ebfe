"""How long training takes to reach a target accuracy; it knows tables of runs that sought one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench.errors import SpecError
from dcbench.stats.grouping import ROUND, VARIANT, check_same, differing, named_variants, prepared, present
from dcbench.stats.intervals import Estimate, median_interval, ratio

if TYPE_CHECKING:
    import pandas as pd

_LEARNING = ("learning_rate", "lr_scaling", "lr_schedule", "lr_warmup_steps", "evaluate_every")
_ROW = ("model", "dataset", "global_batch", "backend", "variant", "devices")


def time_to_target(table: pd.DataFrame, base: str = "single", mode: str = "weak") -> pd.DataFrame:
    """
    Summarise the time to a target accuracy, by model, global batch, backend and number of devices.

    Parameters
    ----------
    table : DataFrame
        As for `scaling`, with the columns ``target_accuracy`` and ``time_to_target_s`` (s; NaN where a completed run
        did not reach it). Runs without a target do not count.
    base : str
        The backend whose one-device time is that of a speed-up of 1.
    mode : {"weak", "strong"}
        Whether the base has the same batch per device or the same global batch.

    Returns
    -------
    DataFrame
        One row per ``model``, ``dataset``, ``global_batch``, ``backend``, ``variant`` (also by learning rate, where
        that differs) and ``devices``; ``tried`` and ``reached`` (completed runs), ``time_to_target`` (s), the median
        of the runs that reached it, and ``speedup`` T(1) / T(n), paired by round, each an `Estimate` or None where
        there is none; ``flags``, a list of str.

    Raises
    ------
    SpecError
        If no run sought a target, none was completed, or runs of different work or machines would be compared.

    Notes
    -----
    Unlike the throughput, this counts what larger batches cost in accuracy per example. Where some runs did not
    reach the target, the median of the others is too low, and a flag says so.
    """
    import pandas as pd

    sought = table[table["target_accuracy"].notna()] if "target_accuracy" in table else table[:0]
    if sought.empty:
        raise SpecError("none of the runs sought a target accuracy; give target_accuracy, such as 0.9, to a run")
    rows = prepared(sought, mode)
    check_same(rows, but=("steps", "epochs"))  # here they are where a run gives up
    learning = differing(rows, _LEARNING, ["group", "backend", "devices"])
    rows = rows.assign(variant=(named_variants(rows) + " " + learning).str.strip())
    rows = rows[rows["status"] == "ok"]
    found = []
    for key, runs in rows.groupby(list(_ROW), sort=False):
        first = rows[(rows["backend"] == base) & (rows["devices"] == 1) & (rows["group"] == runs["group"].iloc[0])]
        found.append(dict(zip(_ROW, key, strict=True)) | _summary(runs, first))
    return pd.DataFrame(found)


def _summary(runs: pd.DataFrame, base: pd.DataFrame) -> dict[str, Any]:
    """Return the statistics of one configuration, given the runs of its base."""
    times = runs["time_to_target_s"].to_numpy(float)
    reached = times[np.isfinite(times)]
    missed = len(times) - len(reached)
    return {
        "tried": len(times),
        "reached": len(reached),
        "time_to_target": median_interval(reached) if len(reached) else None,
        "speedup": _speedup(runs, base),
        "flags": [f"{missed} of {len(times)} runs did not reach the target"] if missed else [],
    }


def _speedup(runs: pd.DataFrame, base: pd.DataFrame) -> Estimate | None:
    for name in present(base, (*VARIANT, *_LEARNING)):  # a base with variants: the one that is alike
        if base[name].nunique() > 1:
            base = base[base[name] == runs[name].iloc[0]]
    own, first = (
        rows.groupby(list(ROUND))["time_to_target_s"].median().dropna().astype(float) for rows in (runs, base)
    )
    shared = first.index.intersection(own.index)
    if not len(shared):
        return None
    if runs.index.equals(base.index):
        return Estimate(1.0, math.nan, math.nan, len(shared))
    return ratio(first[shared], own[shared])
