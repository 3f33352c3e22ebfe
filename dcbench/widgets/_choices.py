"""Which runs a choice of values leaves; it knows a table and its columns, not widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.record import Record
from dcbench.store import Runs, tidy

_NEEDED = ("model", "dataset", "backend", "devices", "batch_per_device", "global_batch", "status", "throughput")


def read(runs: Runs, asked: str) -> tuple[pd.DataFrame, list[Record] | None]:
    """
    Return the runs as a table with the index 0, 1, …, and as records where they came so.

    Raises
    ------
    SpecError
        If there are none, or they are neither records nor their table.
    """
    advice = "give a sweep's records or the table of dcbench.load_records()"
    records = None if isinstance(runs, pd.DataFrame) else _records(runs, f"{asked} needs runs", advice)
    table = tidy(runs if records is None else records)
    missing = [n for n in _NEEDED if n not in table]
    if missing:
        raise SpecError(f"{asked} needs runs, and the table has no column {missing[0]!r}; {advice}")
    if table.empty:
        raise SpecError(f"{asked} needs runs, and there are none; {advice}")
    return table.reset_index(drop=True), records


def _records(runs: Sequence[Record], needs: str, advice: str) -> list[Record]:
    if not isinstance(runs, Sequence) or not all(isinstance(r, Record) for r in runs):
        raise SpecError(f"{needs}, and was given a {type(runs).__name__}; {advice}")
    return list(runs)


@dataclass(frozen=True)
class Choices:
    """
    Runs, and the columns by which they are chosen.

    Parameters
    ----------
    table : DataFrame
        One row a run.
    columns : mapping of str to str
        Name of a choice: column of the table.
    """

    table: pd.DataFrame
    columns: Mapping[str, str]

    def values(self, name: str) -> list[Any]:
        """Return what can be chosen: numbers by size, names by their first run, backends as in every legend."""
        found = self.table[self.columns[name]].dropna().unique().tolist()
        if name == "backend":
            known = list(figures.COLOURS)
            return sorted(found, key=lambda b: (known.index(b) if b in known else len(known), b))
        return found if found and isinstance(found[0], str) else sorted(found)

    def matching(self, chosen: Mapping[str, Any]) -> pd.DataFrame:
        """Return the rows that have the chosen values; None is any."""
        kept = pd.Series(True, index=self.table.index)
        for name, value in chosen.items():
            if value is not None:
                kept &= self.table[self.columns[name]] == value
        return self.table[kept]

    def first(self, names: Sequence[str]) -> dict[str, Any]:
        """Return one value for each name, in turn that with the most backends and then the most devices."""
        chosen: dict[str, Any] = {}
        for name in names:
            rows = self.matching(chosen)
            groups = rows.groupby(self.columns[name], sort=False)
            breadth = {value: (g["backend"].nunique(), g["devices"].max()) for value, g in groups}
            chosen[name] = max(breadth, key=breadth.__getitem__)
        return chosen
