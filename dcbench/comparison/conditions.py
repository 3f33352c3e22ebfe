"""How the runs of a side were made, and in what two sides differ; it knows no measured value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from dcbench.record import Record
from dcbench.spec import field_names
from dcbench.store import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

Conditions: TypeAlias = dict[str, dict[str, str]]  # spec, versions, machine, environment, flags: what -> how it was
UNLIKE = ("machine", "host", "cores", "device type")  # machines that differ in one of these do not compare
SEVERAL = 3  # names in one sentence; the rest is counted
_NONE, _UNSET = "-", "not set"
_VERSION = "_version"
_MACHINE = {  # what a record knows of its machine beyond the columns of a table
    "device type": lambda r: r.placement.get("device_type"),
    "cores": lambda r: len(r.machine["cores"]) if "cores" in r.machine else None,
    "physical cores": lambda r: r.machine.get("physical_cores"),
    "quota (cores)": lambda r: r.machine.get("quota_cores"),
    "memory (GB)": lambda r: f"{r.machine['memory_bytes'] / 1e9:.1f}" if "memory_bytes" in r.machine else None,
    "GPUs": lambda r: ", ".join(str(g.get("name")) for g in r.machine.get("gpus") or ()) or None,
    "system": lambda r: r.machine.get("os"),
}


def conditions(rows: pd.DataFrame, records: Sequence[Record]) -> Conditions:
    """
    Say how the runs of a side were made.

    Parameters
    ----------
    rows : DataFrame
        As from `store.tidy`; columns may be missing.
    records : sequence of Record
        The records of `rows`, where they are at hand: they know more of their machine.

    Returns
    -------
    dict of dict
        By part (``spec``, ``versions``, ``machine``, ``environment``, ``flags``), what it was, as text; several values
        are listed.
    """
    columns = [c for c in COLUMNS if c in rows]
    found: Conditions = {
        "spec": {n: listed(rows[n]) for n in field_names() if n in columns},
        "versions": {c.removesuffix(_VERSION): listed(rows[c]) for c in columns if c.endswith(_VERSION)},
        "machine": {n: listed(rows[n]) for n in ("machine", "host", "cpu_model") if n in columns},
        "flags": {"flags": _flags(rows["flags"])} if "flags" in columns else {},
    }
    if records:
        found["machine"] |= {n: listed(map(read, records)) for n, read in _MACHINE.items()}
        settings: list[Mapping[str, Any]] = [r.machine.get("environment") or {} for r in records]
        names = sorted({n for s in settings for n in s})
        found["environment"] = {n: listed(s.get(n, _UNSET) for s in settings) for n in names}
        found["spec"] |= {f"source of the {n}": listed(_source(r, n) for r in records) for n in ("model", "dataset")}
    if "load_1min" in columns:
        found["machine"]["load (1 min)"] = _range(rows["load_1min"])
    return found


def differs(a: Conditions, b: Conditions) -> pd.DataFrame:
    """Return what is not the same on both sides (columns ``what``, ``a``, ``b``), where both know it."""
    import pandas as pd

    rows = []
    for part in ("spec", "versions", "machine", "environment", "flags"):
        if part in a and part in b:
            names = a[part] | b[part] if part == "environment" else [n for n in a[part] if n in b[part]]
            pairs = [(n, a[part].get(n, _UNSET), b[part].get(n, _UNSET)) for n in names]
            rows += [p for p in pairs if p[1] != p[2]]
    return pd.DataFrame(rows, columns=["what", "a", "b"])


def unlike(a: Conditions, b: Conditions) -> list[str]:
    """Say in what the machines of two sides are unlike."""
    one, other = a["machine"], b["machine"]
    return [f"{n}: {one[n]} / {other[n]}" for n in UNLIKE if n in one and n in other and one[n] != other[n]]


def where(side: Conditions) -> str:
    """Name a side's machine and host."""
    machine = side["machine"]
    return f"{machine.get('machine', 'an unknown machine')!r} (host {machine.get('host', _NONE)})"


def labels(a: Conditions, b: Conditions) -> tuple[str, str]:
    """
    Name both sides as shortly as tells them apart.

    Examples
    --------
    >>> side = {"spec": {"backend": "horovod", "devices": "2", "transport": "mpi"}, "versions": {}, "machine": {}}
    >>> labels(side, side | {"spec": side["spec"] | {"transport": "gloo"}})
    ('horovod × 2, transport=mpi', 'horovod × 2, transport=gloo')
    """
    short = [f"{s['spec']['backend']} × {s['spec']['devices']}" for s in (a, b)]
    models = [s["spec"].get("model", _NONE) for s in (a, b)]
    if models[0] != models[1]:
        short = [f"{model}, {name}" for model, name in zip(models, short, strict=True)]
    if short[0] != short[1]:
        return short[0], short[1]
    for part in ("spec", "machine", "versions"):
        names = [n for n, value in a[part].items() if b[part].get(n, value) != value and not n.startswith("load")]
        if names:
            first, second = (", ".join(f"{n}={s[part][n]}" for n in names[:SEVERAL]) for s in (a, b))
            return f"{short[0]}, {first}", f"{short[1]}, {second}"
    return f"{short[0]} (a)", f"{short[1]} (b)"


def distinct(values: Iterable[Any]) -> list[str]:
    """Return the different values as text, in order of their first."""
    return list(dict.fromkeys(map(_text, values)))


def listed(values: Iterable[Any]) -> str:
    """List the different values, sorted."""
    return ", ".join(sorted(distinct(values), key=lambda text: (len(text), text) if text.isdigit() else (99, text)))


def some(names: Sequence[str]) -> str:
    """List the first names and count the rest.

    Examples
    --------
    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - SEVERAL} more" if len(names) > SEVERAL else ""
    return ", ".join(names[:SEVERAL]) + more


def runs(count: int, kind: str = "run") -> str:
    """Count runs: ``"1 run"``, ``"2 runs"``."""
    return f"{count} {kind}{'' if count == 1 else 's'}"


def _text(value: Any) -> str:
    """Write a value alike whether a record or a table holds it."""
    if value is None or value != value:  # NaN
        return _NONE
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _range(values: pd.Series) -> str:
    known = values.dropna().astype(float)
    ends = [f"{v:.1f}" for v in (known.min(), known.max())] if len(known) else [_NONE]
    return "–".join(dict.fromkeys(ends))


def _flags(cells: pd.Series) -> str:
    """List the flags of all runs, alike but for their numbers."""
    flags = {re.sub(r"\d+(\.\d+)?", "…", flag) for cell in cells.dropna() for flag in cell.split("; ") if flag}
    return "; ".join(sorted(flags)) or _NONE


def _source(record: Record, name: str) -> str:
    value = record.spec.get(name)
    return str(value.get("sha256"))[:12] if isinstance(value, Mapping) else "the package's"
