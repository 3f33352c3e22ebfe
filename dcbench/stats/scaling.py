"""Speed-up and efficiency over the number of devices; it knows tables of runs, not where they come from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench.errors import SpecError
from dcbench.stats.grouping import GROUP, ROUND, VARIANT, check_same, command, named_variants, prepared, present
from dcbench.stats.intervals import Estimate, median_interval, ratio, ratio_unpaired

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
        list of str. Where a configuration shares no round with its base or its ceiling, the ratio is that of
        independent runs, and flagged. Batches with runs on one device only are left out where others have more.

    Raises
    ------
    SpecError
        If runs of different work or machines would be compared, no run was completed, or the base was not measured;
        then it says which run to make.
    """
    import pandas as pd

    cells = _cells(table, base, ceiling, mode)
    speeds = cells[["speed", "base_speed", "ceiling_speed"]].to_numpy()
    shared = cells["shared"].to_numpy()
    unpaired = cells[["all_base_speed", "all_ceiling_speed"]].to_numpy()
    places = cells.groupby(list(_ROW), sort=False, dropna=False).indices
    rows = [
        dict(zip(_ROW, key, strict=True))
        | _summary(speeds[where], unpaired[where[0]], key[3], int(key[5]), base, shared[where].any())
        for key, where in sorted(places.items(), key=lambda item: item[1][0])
        if np.isfinite(speeds[where, 0]).any()
    ]
    if not rows:
        raise SpecError("none of the runs was completed and timed, so there is no scaling to show; make them again")
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
    rows = _comparable(prepared(table, mode))
    check_same(rows)
    _check_bases(rows, base, mode)
    variants = present(rows, VARIANT)
    rows = rows.assign(
        speed=rows["throughput"].where(rows["status"] == "ok").astype(float),
        variant=named_variants(rows),
        shared=rows["oversubscribed"].isin([True]),
        **rows[variants].astype(str),
    )
    by_cell = rows.groupby(["group", "backend", "devices", *variants, *ROUND], sort=False, dropna=False)
    cells = by_cell[[*GROUP, "variant"]].first()
    # some runs may stand for the same round
    cells = cells.assign(speed=by_cell["speed"].median(), shared=by_cell["shared"].any()).reset_index()
    cells = _beside(cells, (cells["backend"] == base) & (cells["devices"] == 1), "base_speed", [])
    return _beside(cells, cells["backend"] == ceiling, "ceiling_speed", ["devices"])


def _comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out groups on one device where others have more: bases of another comparison."""
    most = rows.groupby("group")["devices"].transform("max")
    return rows[most > 1] if (most > 1).any() else rows


def _check_bases(rows: pd.DataFrame, base: str, mode: str) -> None:
    """Refuse a group whose base was not measured, and say which run is missing."""
    first = rows[(rows["backend"] == base) & (rows["devices"] == 1)]
    bare = rows[~rows["group"].isin(first["group"][first["status"] == "ok"])]
    if bare.empty:
        return
    run = bare.iloc[0]
    found = "all of them failed" if run["group"] in set(first["group"]) else "there are none"
    same = run.drop([*VARIANT, "oversubscribe"], errors="ignore").to_dict()
    batch = int(run["batch"])
    add = f"add backend {base!r} with devices 1 and batch_per_device {batch} to the sweep"
    if not bare["sweep"].astype(bool).any():  # a lone run would share no round with those of a sweep
        line = command(same, backend=base, devices=1, batch_per_device=batch)
        add = f"make them in the same sweep, or each by: {line}"
    what = f"{run['model'] or 'a model'} with {run['batch']:g} examples {'a device' if mode == 'weak' else 'a step'}"
    raise SpecError(f"{mode} scaling of {what} needs runs of backend {base!r} on 1 device, and {found}; {add}")


def _beside(cells: pd.DataFrame, other: pd.Series, name: str, shared: list[str]) -> pd.DataFrame:
    """Add the speed that `other` had in the same round, and in all; where it has variants itself, in the same one."""
    match = cells["variant"].mask(cells["variant"] != "", "")
    for column in present(cells, VARIANT):
        several = cells[other].groupby("group")[column].nunique()
        match = match + cells[column].where(cells["group"].map(several) > 1, "")
    cells = cells.assign(match=match)
    of_all = ["group", *shared, "match"]
    on = [*of_all, *ROUND]
    found = cells.loc[other, [*on, "speed"]].rename(columns={"speed": name})
    every = found.dropna(subset=[name]).groupby(of_all)[name].agg(list).rename(f"all_{name}").reset_index()
    return cells.merge(found, on=on, how="left").merge(every, on=of_all, how="left")


def _summary(
    speeds: np.ndarray, unpaired: np.ndarray, backend: str, devices: int, base: str, shared: bool
) -> dict[str, Any]:
    """Return the statistics of one configuration from its speeds by round, shape (rounds, 3): own, base, ceiling.

    `unpaired` has the speeds of base and ceiling in all rounds, a list each, or NaN where there are none.
    """
    speed, first, top = speeds.T
    repeats, is_base = int(np.isfinite(speed).sum()), backend == base and devices == 1
    is_top = np.array_equal(speed, top, True)
    speedup, together = _over(speed, first, unpaired[0], is_base)
    of_ceiling, beside = _over(speed, top, unpaired[1], is_top)
    efficiency = speedup.scaled(1 / devices)
    return {
        "repeats": repeats,
        "throughput": median_interval(speed[np.isfinite(speed)]),
        "speedup": speedup,
        "efficiency": efficiency,
        "of_ceiling": None if is_base or not of_ceiling.count else of_ceiling,
        "flags": _flags(efficiency, repeats, together, is_base or beside)
        + ["devices share cores or GPUs"] * bool(shared),
    }


def _over(above: np.ndarray, below: np.ndarray, unpaired: list[float] | float, itself: bool) -> tuple[Estimate, bool]:
    """Return the ratio, and whether it is by round: where no round has both, it is that of independent runs.

    A configuration against itself is 1 by definition, without an interval.
    """
    shared = int((np.isfinite(above) & np.isfinite(below)).sum())
    if itself:
        return Estimate(1.0, math.nan, math.nan, shared), True
    if shared or not isinstance(unpaired, list):
        return ratio(above, below) if shared else Estimate(math.nan, math.nan, math.nan, 0), True
    return ratio_unpaired(above[np.isfinite(above)], unpaired), False


def _flags(efficiency: Estimate, repeats: int, with_base: bool, with_ceiling: bool) -> list[str]:
    found = []
    if (efficiency.low if efficiency.has_interval else efficiency.value) > 1:
        found.append("efficiency above 100 %: is the base right?")
    apart = [name for name, paired in (("base", with_base), ("ceiling", with_ceiling)) if not paired]
    if apart:
        found.append(f"{' and '.join(apart)} not of the same rounds: compared unpaired")
    if not efficiency.count:
        found.append("the base was not measured with these settings")
    if repeats < CLAIM_FROM:
        found.append(f"{repeats} repeat{'s' * (repeats != 1)}: fewer than {CLAIM_FROM}")
    return found
