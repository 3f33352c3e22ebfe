"""Records as one tidy table, a row a run, for analysis and export; it knows which columns a row has."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dcbench import spec
from dcbench.errors import StoreError
from dcbench.metrics import METRICS
from dcbench.record import SCHEMA_VERSION, Record
from dcbench.registry import nearest
from dcbench.store import index, runs

if TYPE_CHECKING:
    import pandas as pd

Runs: TypeAlias = "pd.DataFrame | Sequence[Record]"
SAMPLES = "samples"  # named as a sweep
FORMATS = ("csv", "json", "parquet")
VERSIONS = ("dcbench", "python", "tensorflow", "keras", "horovod")
_RUN = ("run_id", "status", "reason", "kind", "started_utc", "duration_s", "spec_hash")
_SPEC = (*spec.field_names(), "global_batch")
# what older records, which lack these fields, were made with
_SINCE = {"tensorboard": False, "profile_steps": 0, "hang_limit_s": 20.0}
_FACTS = {  # column: where a record has it
    "sweep": ("sweep", "id"),
    "round": ("sweep", "round"),
    "canary": ("sweep", "canary"),
    "sweep_key": ("sweep", "key"),
    "sweep_place": ("sweep", "place"),
    "machine": ("machine", "name"),
    "host": ("machine", "host"),
    "cpu_model": ("machine", "cpu_model"),
    "load_1min": ("machine", "load_1min"),
    "started_by": ("placement", "start"),
    "oversubscribed": ("placement", "oversubscribed"),
    "parameters": ("model", "parameters"),
    "gradient_bytes": ("model", "gradient_bytes"),
    "flops_per_example": ("model", "flops_per_example"),
    "data_source": ("data", "source"),
    "examples": ("data", "examples"),
}
COLUMNS = (*_RUN, *_SPEC, *METRICS, *_FACTS, *(f"{n}_version" for n in VERSIONS), "flags")
_LAYOUT = hashlib.sha256(repr((SCHEMA_VERSION, "whole values", COLUMNS)).encode()).hexdigest()[:12]
_UNSAFE = ("=", "+", "-", "@", "\t", "\n", *"＝＋－＠")  # a spreadsheet would run such a cell as a formula


def write(record: Record, run_dir: Path) -> Path:
    """
    Write a run's ``record.json``, whole or not at all, and its line of the index.

    Parameters
    ----------
    record : Record
    run_dir : Path
        From `create`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StoreError
        If the folder is unwritable or full.
    """
    run_dir = Path(run_dir)
    path = runs.write_record(record, run_dir)
    index.append(run_dir.parent, [index.entry(run_dir, _LAYOUT, _values(record))])
    return path


def load_records(root: Path | None = None) -> pd.DataFrame:
    """
    Read all records of a folder as a tidy table.

    Parameters
    ----------
    root : Path, optional
        Folder of all runs; `store.root` unless given.

    Returns
    -------
    pandas.DataFrame
        One row a run, oldest first; columns `COLUMNS`: spec fields, metrics (NaN where a run has none),
        machine, versions. ``.attrs["skipped"]`` maps what could not be read to the reason.
    """
    import pandas as pd

    base = runs.root() if root is None else Path(root)
    rows = index.rows(base, _LAYOUT, len(COLUMNS), _read_row)
    good = [r for r in rows.values() if isinstance(r, list)]
    by_column = zip(*good, strict=True) if good else ((),) * len(COLUMNS)
    table = pd.DataFrame({c: list(values) for c, values in zip(COLUMNS, by_column, strict=True)})
    for column in ("duration_s", *METRICS):
        table[column] = table[column].astype(float)
    table["started_utc"] = pd.to_datetime(table["started_utc"], utc=True, errors="coerce", format="ISO8601")
    table = by_time(table).reset_index(drop=True)
    table.attrs["skipped"] = {name: r["error"] for name, r in rows.items() if isinstance(r, dict)}
    return table


def by_time(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the order in which their runs started, to the millisecond; names tell it to the second."""
    return table.sort_values("started_utc", kind="stable", na_position="first")


def load_sweep(sweep: str | None = None, root: Path | None = None) -> list[Record]:
    """
    Read the records of one sweep, canaries included.

    Parameters
    ----------
    sweep : str, optional
        Its id; the sweep of the newest run unless given. ``"samples"`` is the study that comes with dcbench.
    root : Path, optional
        Folder of all runs; `store.root` unless given.

    Returns
    -------
    list of Record
        In the order of the plan, one for each place: the run that ended well, else the last that was tried.

    Raises
    ------
    StoreError
        If there is no sweep, or none of that id.
    """
    base = runs.root() if root is None else Path(root)
    if sweep == SAMPLES:
        base, sweep = runs.samples(), None
    table = load_records(base)
    known = table["sweep"].dropna()
    if known.empty:
        raise StoreError(f"there is no sweep in {base}; make one with dcbench.sweep")
    chosen = known.iloc[-1] if sweep is None else sweep
    rows = table[table["sweep"] == chosen]
    if rows.empty:
        hint = nearest(str(sweep), known.unique()) or f"; the newest is {known.iloc[-1]!r}"
        raise StoreError(f"there is no sweep {sweep!r} in {base}{hint}")
    rows = rows.assign(ok=rows["status"] == "ok").sort_values(["sweep_place", "ok"], kind="stable")
    return [runs.load_record(run, base) for run in rows.drop_duplicates("sweep_place", keep="last")["run_id"]]


def row(record: Record) -> dict[str, Any]:
    """Return a record's row: plain values by column."""
    whole = dataclasses.replace(record, samples=[]).to_dict()
    found = {n: whole[n] for n in _RUN}
    found |= {n: _cell(record.spec.get(n, _SINCE.get(n))) for n in _SPEC}
    found |= {n: whole["metrics"].get(n) for n in METRICS}
    found |= {n: _cell(whole[part].get(key)) for n, (part, key) in _FACTS.items()}
    found |= {f"{n}_version": whole["versions"].get(n) for n in VERSIONS}
    return found | {"flags": "; ".join(map(str, record.flags))}


def tidy(runs: Runs) -> pd.DataFrame:
    """
    Return the runs as a table with the columns `COLUMNS`, in the given order.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        A table is returned as it is.
    """
    import pandas as pd

    if isinstance(runs, pd.DataFrame):
        return runs
    return pd.DataFrame([row(record) for record in runs], columns=list(COLUMNS))


def _values(record: Record) -> list[Any]:
    found = row(record)
    return [found.get(c) for c in COLUMNS]


def _read_row(run_dir: Path) -> index.Row:
    try:
        record = runs.load_record(run_dir)
        if record.run_id != run_dir.name:
            return {"error": f"its record is of the run {record.run_id!r}; give the folder that name"}
        return _values(record)
    except StoreError as error:
        return {"error": str(error)}
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        return {"error": f"{run_dir.name}'s record is damaged: {type(error).__name__}: {error}"}


def _cell(value: Any) -> Any:
    """Return a plain value: a function's name, and other collections as JSON."""
    if isinstance(value, Mapping) and "function" in value:
        return value["function"]
    return json.dumps(value) if isinstance(value, list | Mapping) else value


def export(path: Path, table: pd.DataFrame) -> Path:
    """
    Write a table as CSV, JSON (a list of rows) or Parquet, by the ending of `path`.

    Parameters
    ----------
    path : Path
        Its folder must exist; a file of that name is replaced.
    table : pandas.DataFrame
        As from `load_records`.

    Returns
    -------
    Path

    Raises
    ------
    StoreError
        For another ending, an unwritable folder, or Parquet without pyarrow.
    """
    with contextlib.suppress(RuntimeError):  # no such home
        path = Path(path).expanduser()
    ending = path.suffix.lstrip(".").lower()
    if ending not in FORMATS:
        raise StoreError(
            f"{path.name!r} does not end in a known format; use {', '.join('.' + f for f in FORMATS)}"
        )
    if ending == "parquet":
        try:
            content = table.to_parquet(index=False)
        except ImportError as error:
            raise StoreError(
                f"{path.name} is Parquet, which needs pyarrow; install it, or export .csv"
            ) from error
    elif ending == "csv":
        content = table.map(_harmless).to_csv(index=False).encode()
    else:
        content = table.to_json(orient="records", date_format="iso", indent=1).encode()
    runs.write_atomically(path, content)
    return path


def _harmless(cell: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would take for a formula; leave out what a terminal obeys."""
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\r\n", "\n").replace("\r", "\n")  # which is not quoted, and would begin a row
    plain = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in cell)
    return f"'{plain}" if plain.lstrip(" ").startswith(_UNSAFE) else plain
