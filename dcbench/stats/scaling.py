"""Speed-up and efficiency over the number of devices; it knows tables of runs, not where they come from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench.errors import SpecError
from dcbench.stats.grouping import GROUP, ROUND, SAME, VARIANT, check_same, command, named_variants, prepared
from dcbench.stats.grouping import present as _present
from dcbench.stats.intervals import Estimate, median_interval, ratio

if TYPE_CHECKING:
    import pandas as pd

KEY = ("backend", "devices", "batch_per_device")
CLAIM_FROM = 5  # repeats below which nothing is claimed
_ROW = ("model", "dataset", "batch", "backend", "variant", "devices")


def scaling(
    table: pd.DataFrame, base: str = "single", ceiling: str = "independent", mode: str = "weak"
) -> pd.DataFrame:
    """
    Summarise scaling: throughput, speed-up, efficiency and the part of the ceiling reached.

    Parameters
    ----------
    table : DataFrame
        One row per run, in the order in which they ran, with the columns of ``KEY``, ``status`` and ``throughput``
        (examples/s). Runs of a sweep are paired by its rounds, lone runs by their order; a failed run keeps its place
        and canaries do not count. Inside a model, dataset and batch, those columns of ``SAME`` that the table has
        must hold one value each.
    base : str
        The backend whose one-device run is T(1).
    ceiling : str
        The backend without communication.
    mode : {"weak", "strong"}
        Weak scaling keeps the batch of a device, strong scaling the global batch.

    Returns
    -------
    DataFrame
        One row per ``model``, ``dataset``, ``batch`` (per device if weak, global if strong), ``backend``, ``variant``
        (``"transport=mpi"`` where that differs inside a backend, else empty) and ``devices``; ``repeats`` (rounds
        measured), and an `Estimate` in each of ``throughput`` (examples/s), ``speedup`` T(n) / T(1), ``efficiency``
        T(n) / (n T(1)) and ``of_ceiling`` (None for the base, and where the ceiling was not measured); ``flags``, a
        list of str. Batches with runs on one number of devices only are left out where others have several.

    Raises
    ------
    SpecError
        If runs of different work or machines would be compared, no run was completed, or the base was not measured;
        then it says which run to make.
    """
    import pandas as pd

    cells = _cells(table, base, ceiling, mode)
    rows = [
        dict(zip(_ROW, key, strict=True)) | _summary(found, base)
        for key, found in cells.groupby(list(_ROW), sort=False)
        if found["speed"].notna().any()
    ]
    return pd.DataFrame(rows)


def speedups(
    table: pd.DataFrame, base: str = "single", ceiling: str = "independent", mode: str = "weak"
) -> pd.DataFrame:
    """
    Return the speed-ups behind `scaling`, one row per configuration and round that was measured with its base.

    Parameters
    ----------
    table, base, ceiling, mode
        As for `scaling`.

    Returns
    -------
    DataFrame
        ``model``, ``dataset``, ``batch``, ``backend``, ``variant``, ``devices``, ``sweep``, ``round`` and ``speedup``.
    """
    cells = _cells(table, base, ceiling, mode)
    cells["speedup"] = cells["speed"] / cells["base_speed"]
    return cells.loc[cells["speedup"].notna(), [*_ROW, "sweep", "round", "speedup"]].reset_index(drop=True)


def _cells(table: pd.DataFrame, base: str, ceiling: str, mode: str) -> pd.DataFrame:
    """Return one row per configuration and round, with the speeds of its base and its ceiling in that round."""
    import pandas as pd

    rows = _comparable(prepared(table, mode))
    check_same(rows, [n for n in SAME if n.endswith("_version") or n in ("machine", "host")])
    rows = rows.assign(speed=rows["throughput"].where(rows["status"] == "ok").astype(float))
    found = []
    for _, group in rows.groupby(list(GROUP), sort=False):
        check_same(group)
        key = [*GROUP, "backend", "variant", "devices", *_present(group, VARIANT), *ROUND]
        named = group.assign(variant=named_variants(group))
        cells = named.groupby(key, sort=False, dropna=False)["speed"].median().reset_index()
        first = cells[(cells["backend"] == base) & (cells["devices"] == 1)]
        if not first["speed"].notna().any():
            raise SpecError(_no_base(group, base, mode, failed=len(first) > 0))
        cells = _beside(cells, first, "base_speed", [])
        found.append(_beside(cells, cells[cells["backend"] == ceiling], "ceiling_speed", ["devices"]))
    cells = pd.concat(found, ignore_index=True)
    if rows["threads_per_device"].nunique() > 1:
        threads = "threads_per_device=" + cells["threads_per_device"].astype(str)
        cells["variant"] = (cells["variant"] + " " + threads).str.strip()
    return cells


def _comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out groups of one number of devices where others have several: bases of another comparison."""
    counts = rows.groupby(list(GROUP))["devices"].transform("nunique")
    return rows[counts > 1] if (counts > 1).any() else rows


def _beside(cells: pd.DataFrame, other: pd.DataFrame, name: str, shared: list[str]) -> pd.DataFrame:
    """Add the speed of `other` in the same round; where it has variants itself, that of the same variant."""
    varies = [n for n in _present(other, VARIANT) if other[n].nunique(dropna=False) > 1]
    on = [*ROUND, *shared, *varies]
    return cells.merge(other[[*on, "speed"]].rename(columns={"speed": name}), on=on, how="left")


def _summary(cells: pd.DataFrame, base: str) -> dict[str, Any]:
    """Return the statistics of one configuration from its rounds."""
    backend, devices = cells["backend"].iloc[0], int(cells["devices"].iloc[0])
    speed, first, top = (cells[name].to_numpy() for name in ("speed", "base_speed", "ceiling_speed"))
    is_base = backend == base and devices == 1
    speedup = _paired(speed, first, is_base)
    efficiency = speedup.scaled(1 / devices)
    return {
        "repeats": int(np.isfinite(speed).sum()),
        "throughput": median_interval(speed[np.isfinite(speed)]),
        "speedup": speedup,
        "efficiency": efficiency,
        "of_ceiling": None if is_base or np.isnan(top).all() else _paired(speed, top, np.array_equal(speed, top, True)),
        "flags": _flags(efficiency, int(np.isfinite(speed).sum())),
    }


def _paired(above: np.ndarray, below: np.ndarray, itself: bool) -> Estimate:
    """Return the ratio by round; a configuration against itself is 1 by definition, without an interval."""
    shared = int((np.isfinite(above) & np.isfinite(below)).sum())
    if itself:
        return Estimate(1.0, math.nan, math.nan, shared)
    return ratio(above, below) if shared else Estimate(math.nan, math.nan, math.nan, 0)


def _flags(efficiency: Estimate, repeats: int) -> list[str]:
    found = []
    if efficiency.low > 1:
        found.append("efficiency above 100 %: is the base right?")
    if not efficiency.count:
        found.append("no round was measured together with the base")
    if repeats < CLAIM_FROM:
        found.append(f"{repeats} repeat{'s' * (repeats != 1)}: fewer than {CLAIM_FROM}")
    return found


def _no_base(group: pd.DataFrame, base: str, mode: str, failed: bool) -> str:
    """Say which run is missing, and the line that makes it."""
    run = group.iloc[0].to_dict()
    run |= dict.fromkeys(("transport", "compression", "oversubscribe")) | {"seed": group["seed"].iloc[0]}
    line = command(run, backend=base, devices=1, batch_per_device=int(run["batch"]))
    found = "all of them failed" if failed else "there are none"
    what = f"{run['model']} with {run['batch']:g} examples " + ("a device" if mode == "weak" else "a step")
    return (
        f"{mode} scaling of {what.strip()} needs runs of backend {base!r} on 1 device, and {found}; "
        f"make them in the same sweep, or each by: {line}"
    )


