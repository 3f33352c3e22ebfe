"""Speed-up and efficiency over the number of devices; it knows tables of runs, not where they come from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dcbench.errors import SpecError
from dcbench.stats.intervals import Estimate, median_interval, ratio

if TYPE_CHECKING:
    import pandas as pd

KEY = ("backend", "devices", "batch_per_device")
# runs that differ in one of these do not compare
SAME = ("model", "dataset", "machine", "device_type", "precision", "optimizer", "steps", "epochs")


def scaling(table: pd.DataFrame, base: str = "single", ceiling: str = "independent") -> pd.DataFrame:
    """
    Summarise weak scaling: throughput, speed-up, efficiency and the part of the ceiling reached.

    Parameters
    ----------
    table : DataFrame
        One row per run, in the order in which they ran, with the columns of ``KEY``, ``status`` and ``throughput``
        (examples/s). The k-th runs of two configurations are a pair; a failed run keeps its place. Those columns of
        ``SAME`` that it has must hold one value each.
    base : str
        The backend whose one-device run is T(1); its least batch per device is the one compared.
    ceiling : str
        The backend without communication.

    Returns
    -------
    DataFrame
        One row per backend and number of devices: ``backend``, ``devices``, ``repeats`` and an `Estimate` in each of
        ``throughput`` (examples/s), ``speedup``, ``efficiency`` (speed-up by devices) and ``of_ceiling`` (None for the
        base, and where the ceiling was not measured).
    """
    import pandas as pd

    _check_same(table)
    rounds = _rounds(table)
    batch = min((b for name, n, b in rounds if name == base and n == 1), default=None)
    if batch is None:
        raise SpecError(f"scaling needs runs of backend {base!r} on 1 device, and there are none; add them")
    rows = []
    for (backend, devices, size), measured in rounds.items():
        if size != batch or not np.isfinite(measured).any():
            continue
        speedup, top = _paired(measured, rounds[base, 1, batch]), rounds.get((ceiling, devices, batch))
        rows.append(
            {
                "backend": backend,
                "devices": devices,
                "repeats": int(np.isfinite(measured).sum()),
                "throughput": median_interval(measured[np.isfinite(measured)]),
                "speedup": speedup,
                "efficiency": speedup.scaled(1 / devices),
                "of_ceiling": None if top is None or backend == base else _paired(measured, top),
            }
        )
    return pd.DataFrame(rows)


def _check_same(table: pd.DataFrame) -> None:
    """Refuse a table whose runs differ in more than backend, devices, batch and seed."""
    for name in SAME:
        values = [f"{v:g}" if isinstance(v, float) else str(v) for v in table[name].unique()] if name in table else []
        if len(values) > 1:
            found = f"{', '.join(values[:-1])} and {values[-1]}"
            raise SpecError(f"scaling compares runs of one {name}, the table has {name} {found}; keep the rows of one")


def _rounds(table: pd.DataFrame) -> dict[tuple[str, int, int], np.ndarray]:
    """Return each configuration's throughput by round; NaN where a run failed."""
    kept = table["throughput"].where(table["status"] == "ok")
    grouped = kept.groupby([table[name] for name in KEY], sort=False)
    return {(str(b), int(n), int(size)): rows.to_numpy(float) for (b, n, size), rows in grouped}


def _paired(above: np.ndarray, below: np.ndarray) -> Estimate:
    """Return the ratio by round; a configuration against itself is 1 by definition, without an interval."""
    if above is below:
        return Estimate(1.0, math.nan, math.nan, int(np.isfinite(above).sum()))
    shared = min(len(above), len(below))
    if not (np.isfinite(above[:shared]) & np.isfinite(below[:shared])).any():
        return Estimate(math.nan, math.nan, math.nan, 0)
    return ratio(above[:shared], below[:shared])
