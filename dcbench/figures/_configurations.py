"""Which runs repeat one another, and what to call them so that a reader can tell them apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import pandas as pd

from dcbench.figures._style import label, plain, rank
from dcbench.stats.grouping import SAME, VARIANT

MOST_ROWS = 30  # configurations that one figure lists
_AS_IT_IS = ("dataset", "machine", "device_type", "precision", "optimizer")  # named by the value alone
_WORK = ("dataset", *SAME)  # named where they differ within a model
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
    known = {k: table[k].nunique() for k in _WORK if k in table}
    work = [k for k, kinds in known.items() if kinds > k.endswith("_version")]  # a missing version is no other one
    ways = [k for k in VARIANT if k in table]
    shape = [k for k in ("model", "backend", "devices", *_SHARE) if k in table]
    cells = table[shape].assign(**{k: texts(table[k]) for k in (*work, *ways)})
    kinds = cells.drop_duplicates(ignore_index=True)
    share = {k: kinds[k].min() for k in _SHARE if k in kinds}
    if kinds.loc[kinds["devices"] > 1, "batch_per_device"].nunique() > 1:
        share["batch_per_device"] = 0  # of several batches each is named
    models = [[plain(m)] for m in kinds["model"]] if "model" in kinds and kinds["model"].nunique() > 1 else None
    apart = [models or [[]] * len(kinds), what_differs(kinds, work, "model"), what_differs(kinds, ways, "backend")]
    rows = zip(kinds.to_dict("records"), *apart, strict=True)
    names = [_name(row, [part for own in parts for part in own], share) for row, *parts in rows]
    kinds = kinds.assign(configuration=_unlike(names), place=[rank(b) for b in kinds["backend"]])
    order = [k for k in ("model", "dataset", "devices", "batch_per_device", "place") if k in kinds]
    kinds = kinds.sort_values(order, kind="stable", ignore_index=True)
    found = cells.merge(kinds.assign(_order=kinds.index), on=list(cells), how="left")
    named = table.assign(configuration=found["configuration"].to_numpy(), _order=found["_order"].to_numpy())
    return named.sort_values("_order", kind="stable", ignore_index=True).drop(columns="_order")


def what_differs(cells: pd.DataFrame, names: Sequence[str], within: str) -> list[list[str]]:
    """
    Return for each row the values of those columns that differ among the rows of one model or backend.

    Parameters
    ----------
    cells : DataFrame
        With `names` as from `texts`.
    names : sequence of str
    within : str
        The column that groups the rows; without it all rows are one group.

    Examples
    --------
    >>> runs = {"model": ["mlp"] * 2, "model_args": ['{"units": 64}', ""], "optimizer": ["sgd", "adam"]}
    >>> what_differs(pd.DataFrame(runs), ["model_args", "optimizer"], "model")
    [['units=64', 'sgd'], ['adam']]
    """
    parts: list[list[str]] = [[] for _ in range(len(cells))]
    groups = cells[within] if within in cells else pd.Series("", cells.index)
    for name in names:
        varies = cells[name].groupby(groups, dropna=False).transform("nunique") > 1
        fields = {text: _fields(name, text) for text in cells.loc[varies, name].unique()}
        shared = set.intersection(*map(set, fields.values())) if fields else set()
        for own, text, differs in zip(parts, cells[name], varies, strict=True):
            own.extend(part for part in fields.get(text, ()) if differs and part not in shared)
    return parts


def texts(values: pd.Series) -> list[str]:
    """
    Return a column as text, where nothing is "".

    Examples
    --------
    >>> texts(pd.Series([100.0, 0.5, None])), texts(pd.Series([None, "{}", True]))
    (['100', '0.5', ''], ['', '', 'True'])
    """
    codes, kinds = pd.factorize(values)
    shown = [*map(_text, kinds), ""]  # the code of a missing value is -1
    return [shown[code] for code in codes]


def first_rows(table: pd.DataFrame, most: int = MOST_ROWS) -> tuple[pd.DataFrame, list[str]]:
    """Return the runs of as many configurations as a figure can list, fewest devices first, and a note of the rest."""
    kinds = table.drop_duplicates("configuration")
    kept = kinds.sort_values("devices", kind="stable")["configuration"][:most]
    if len(kept) == len(kinds):
        return table, []
    note = f"the first {most} of {len(kinds)} configurations by devices; give fewer runs to see the others"
    return table[table["configuration"].isin(kept)], [note]


def _text(value: Any) -> str:
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return "" if value == "{}" else str(value)


def _fields(name: str, text: str) -> list[str]:
    """Return the parts of one value: each argument by itself, nothing for no value."""
    if text.startswith("{"):
        return [plain(f"{k}={v}") for k, v in json.loads(text).items()]
    return [plain(text if name in _AS_IT_IS else f"{name}={text}")] * bool(text)


def _name(row: dict[str, Any], parts: list[str], least: Mapping[str, int]) -> str:
    """Name one configuration by what sets it apart from the others."""
    parts = [label(row["backend"], row["devices"]), *parts]
    threads = row.get("threads_per_device")
    if pd.notna(threads) and threads != least["threads_per_device"]:
        parts.append(f"{threads:g} cores a device")
    if row["batch_per_device"] != least["batch_per_device"]:
        parts.append(f"{row['batch_per_device']:g} a {'step' if row['devices'] == 1 else 'device'}")
    return ", ".join(parts)


def _unlike(names: Sequence[str]) -> list[str]:
    """Number names that came out the same, so that no two configurations become one row."""
    return [f"{n} ({names[: k + 1].count(n)})" if names.count(n) > 1 else n for k, n in enumerate(names)]
