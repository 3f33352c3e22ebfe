"""Which runs a choice of values leaves; it knows a table and its columns, not widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.record import Record
from dcbench.store import Runs, tidy

LONE = "runs by themselves"  # in place of a sweep
_NEEDED = (
    "machine", "sweep", "model", "dataset", "backend", "devices", "batch_per_device", "global_batch", "target_accuracy",
    "status", "reason", "throughput", "canary",
)  # fmt: skip


def read(runs: Runs, asked: str) -> tuple[pd.DataFrame, list[Record] | None]:
    """
    Return the runs as a table with the index 0, 1, …, and as records where they came so.

    Raises
    ------
    SpecError
        If there are none, or they are neither records nor their table.
    """
    advice = "give a sweep's records or the table of dcbench.load_records()"
    records = None if isinstance(runs, pd.DataFrame) else runs
    if records is not None and not (isinstance(records, Sequence) and all(isinstance(r, Record) for r in records)):
        raise SpecError(f"{asked} needs runs, and was given a {type(runs).__name__}; {advice}")
    table = tidy(runs)
    missing = [n for n in _NEEDED if n not in table]
    if missing:
        raise SpecError(f"{asked} needs runs, and the table has no column {missing[0]!r}; {advice}")
    if table.empty:
        raise SpecError(f"{asked} needs runs, and there are none; {advice}")
    return table.reset_index(drop=True), records and list(records)


class Choices:
    """
    The runs by what they can be chosen by.

    Parameters
    ----------
    table : DataFrame
        One row a run.
    columns : mapping of str to str
        Name of a choice: column of the table.
    """

    def __init__(self, table: pd.DataFrame, columns: Mapping[str, str]) -> None:
        self._seen = pd.DataFrame({name: table[column] for name, column in columns.items()} | {"on": table["devices"]})
        if "sweep" in self._seen:
            self._seen["sweep"] = self._seen["sweep"].fillna(LONE)
        self._values = {name: self._sorted(name) for name in columns}

    def values(self, name: str) -> list[Any]:
        """Return what can be chosen: numbers by size, names by their first run, sweeps by their last."""
        return self._values[name]

    def matching(self, chosen: Mapping[str, Any]) -> pd.Index:
        """Return the index of the rows that have the chosen values; None is any."""
        kept = pd.Series(True, index=self._seen.index)
        for name, value in chosen.items():
            if value is not None:
                kept &= self._seen[name] == value
        return self._seen.index[kept]

    def counts(self, name: str, chosen: Mapping[str, Any]) -> dict[Any, int]:
        """Return how many runs each value of one choice would leave, the other choices as they are; None is all."""
        others = self.matching({n: v for n, v in chosen.items() if n != name})
        found = self._seen.loc[others, name].value_counts()
        return {None: len(others), **{value: int(found.get(value, 0)) for value in self.values(name)}}

    def first(self, names: Sequence[str]) -> dict[str, Any]:
        """Return one value for each name, in turn that with the most backends and then the most devices."""
        chosen: dict[str, Any] = {}
        for name in names:
            breadth = {}
            for value in self.values(name):
                rows = self._seen.loc[self.matching({**chosen, name: value})]
                breadth[value] = (rows["backend"].nunique(), rows["on"].max() if len(rows) else 0)
            chosen[name] = max(breadth, key=breadth.__getitem__)
        return chosen

    def _sorted(self, name: str) -> list[Any]:
        found = self._seen[name].dropna().unique().tolist()
        if name == "backend":
            known = list(figures.COLOURS)
            return sorted(found, key=lambda b: (known.index(b) if b in known else len(known), b))
        if name == "sweep":
            return found[::-1]
        return found if any(isinstance(value, str) for value in found) else sorted(found)
