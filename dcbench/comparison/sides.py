"""One side of a comparison: the runs that count, what was left out and why; it knows nothing of the other side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from dcbench.comparison.conditions import SEVERAL, Conditions, conditions, distinct, runs, some
from dcbench.errors import SpecError
from dcbench.metrics import Metric
from dcbench.record import Record
from dcbench.spec import field_names
from dcbench.store import tidy

if TYPE_CHECKING:
    import pandas as pd

Side: TypeAlias = "Record | Sequence[Record] | pd.DataFrame"
_NEEDED = ("status", "backend", "devices")


@dataclass(frozen=True, eq=False)
class Counted:
    """A side's runs that count (rows as from `store.tidy`), how they were made, and what was left out."""

    rows: pd.DataFrame
    conditions: Conditions
    left_out: list[str]


def counted(name: str, given: Side, metric: Metric, allow_unlike: bool) -> Counted:
    """
    Read one side.

    Parameters
    ----------
    name : str
        ``"a"`` or ``"b"``, for messages.
    given : Record, sequence of Record, or DataFrame
    metric : Metric
    allow_unlike : bool
        Whether its runs may be of several machines.

    Raises
    ------
    SpecError
        Where it holds no completed run with the metric, or runs of several configurations or machines.
    """
    rows, records = _read(name, given)
    canary = rows["canary"].eq(True) if "canary" in rows else rows["status"].isna()
    measured = rows[~canary]
    _check_one(name, measured, allow_unlike)
    values = measured.get(metric.name, measured["status"].map(lambda _: math.nan)).astype(float)
    good = (measured["status"] == "ok") & values.notna()
    left = [f"{runs(int(canary.sum()), 'canary run')} left out"] if canary.any() else []
    left += _left_out(measured[~good], metric)
    if not good.any():
        found = "; ".join(left) or "no runs"
        raise SpecError(f"{name} has no completed run with {metric.name!r} ({found}); make or name one that has it")
    if (values[good] <= 0).any():
        raise SpecError(f"{name} has a run whose {metric.name} is not above 0: no ratio; choose another metric")
    kept = measured[good]
    return Counted(kept, conditions(kept, [records[i] for i in kept.index] if records else []), left)


def _read(name: str, given: Any) -> tuple[pd.DataFrame, list[Record]]:
    import pandas as pd

    held = [given] if isinstance(given, Record) else given
    if not isinstance(held, pd.DataFrame):
        held = list(held) if isinstance(held, Iterable) and not isinstance(held, str) else [held]
        if foreign := [r for r in held if not isinstance(r, Record)]:
            kind = type(foreign[0]).__name__
            raise SpecError(f"{name} holds a {kind}; give a Record, a list of Records, or a table of runs")
    if not len(held):
        raise SpecError(f"{name} holds no runs; give at least one")
    rows = tidy(held).reset_index(drop=True)
    if absent := [n for n in _NEEDED if n not in rows]:
        raise SpecError(f"{name} is a table without the column {absent[0]!r}; give one as from load_records")
    return rows, [] if isinstance(held, pd.DataFrame) else held


def _check_one(name: str, rows: pd.DataFrame, allow_unlike: bool) -> None:
    """Refuse a side of several configurations or, unless allowed, of several machines."""
    fields = [n for n in field_names() if n in rows and n != "seed"]
    varying = {n: v for n in fields if len(v := distinct(rows[n])) > 1}
    if not varying and "spec_hash" in rows:
        by_seed = rows.groupby("seed")["spec_hash"] if "seed" in rows else rows.groupby("status")["spec_hash"]
        if by_seed.nunique().gt(1).any():
            varying = {"the source of a function": distinct(rows["spec_hash"])}
    machines = {n: v for n in ("machine", "host") if n in rows and len(v := distinct(rows[n])) > 1}
    for what, found in (("configurations", varying), ("machines", {} if allow_unlike else machines)):
        if found:
            said = " and ".join(f"{n} ({some(v)})" for n, v in list(found.items())[:SEVERAL])
            raise SpecError(f"{name} holds runs of several {what}, which differ in {said}; give the runs of one")


def _left_out(rows: pd.DataFrame, metric: Metric) -> list[str]:
    """Count and name the runs that do not count."""
    said = []
    for row in rows.to_dict("records"):
        why = f"no {metric.name}" if row["status"] == "ok" else f"{row['status']}: {row.get('reason') or 'no reason'}"
        said.append(f"{row.get('run_id', 'a run')} ({why})")
    return [f"{runs(len(said))} left out: {some(said)}"] if said else []
