"""Which runs repeat one another, and what to call them so that a reader can tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dcbench.figures._style import label, plain, rank

MOST_ROWS = 30  # configurations that one figure lists
_WORK = ("model", "dataset", "machine", "device_type", "precision", "optimizer", "jit_compile")  # named as they are
_WAY = ("transport", "compression", "knobs")  # named where they differ within a backend
_SHARE = ("threads_per_device", "batch_per_device")  # named where they are above the least of one study


def configured(table: pd.DataFrame) -> pd.DataFrame:
    """
    Add the name of each run's configuration, and sort the runs by it.

    Parameters
    ----------
    table : DataFrame
        As from `dcbench.load_records`; columns that it lacks tell nothing apart.

    Returns
    -------
    DataFrame
        With the column ``configuration``: backend and devices, and whatever else differs in the table.

    Examples
    --------
    >>> runs = {"backend": ["horovod", "single"], "devices": [2, 1], "batch_per_device": [32, 64], "model": ["cnn"] * 2}
    >>> configured(pd.DataFrame(runs)).configuration.tolist()
    ['single × 1, 64 a step', 'horovod × 2']
    """
    keys = [k for k in (*_WORK, "backend", "devices", *_SHARE, *_WAY) if k in table]
    kinds = table[keys].drop_duplicates()
    work = [k for k in _WORK if k in kinds and kinds[k].nunique(dropna=False) > 1]
    share = {k: kinds[k].min() for k in _SHARE if k in kinds}
    if kinds.loc[kinds["devices"] > 1, "batch_per_device"].nunique() > 1:
        share["batch_per_device"] = 0  # of several batches each is named
    ways = kinds.groupby("backend")[[k for k in _WAY if k in kinds]].nunique(dropna=False) > 1
    names = [
        _name(row, work, [k for k in ways if ways.at[row["backend"], k]], share) for row in kinds.to_dict("records")
    ]
    kinds = kinds.assign(configuration=names, place=[rank(b) for b in kinds["backend"]])
    order = [k for k in ("model", "dataset", "devices", "batch_per_device", "place") if k in kinds]
    kinds = kinds.sort_values(order, kind="stable", ignore_index=True).drop(columns="place")
    return (
        kinds.assign(_order=kinds.index)
        .merge(table, on=keys)
        .sort_values("_order", kind="stable")
        .drop(columns="_order")
    )


def first_rows(table: pd.DataFrame, most: int = MOST_ROWS) -> tuple[pd.DataFrame, list[str]]:
    """Return the runs of as many configurations as a figure can list, fewest devices first, and a note of the rest."""
    kinds = table.drop_duplicates("configuration")
    kept = kinds.sort_values("devices", kind="stable")["configuration"][:most]
    if len(kept) == len(kinds):
        return table, []
    note = f"the first {most} of {len(kinds)} configurations by devices; give fewer runs to see the others"
    return table[table["configuration"].isin(kept)], [note]


def _name(row: dict[str, Any], work: Sequence[str], ways: Sequence[str], least: Mapping[str, int]) -> str:
    """Name one configuration by what sets it apart from the others."""
    parts = [label(row["backend"], row["devices"])]
    parts += [plain(row[k]) for k in work]
    parts += [f"{k}={plain(row[k])}" for k in ways]
    if "threads_per_device" in least and row["threads_per_device"] != least["threads_per_device"]:
        parts.append(f"{row['threads_per_device']} cores a device")
    if row["batch_per_device"] != least["batch_per_device"]:
        parts.append(f"{row['batch_per_device']} a {'step' if row['devices'] == 1 else 'device'}")
    return ", ".join(parts)
