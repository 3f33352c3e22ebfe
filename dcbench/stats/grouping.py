"""Which runs of a table compare: equal work on one machine, in groups, variants and rounds; it computes no statistic.

A group trains one model on one dataset with one batch and one size of device. Inside it, configurations differ in
backend, devices and variant (how a backend talks), and the runs of one round, made close in time, form pairs.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcbench import spec
from dcbench.errors import SpecError
from dcbench.options import default

if TYPE_CHECKING:
    import pandas as pd

GROUP = ("model", "dataset", "batch", "threads_per_device")
VARIANT = ("transport", "compression", "knobs")  # of one backend; each is a configuration of its own
ROUND = ("sweep", "round", "seed")  # what two runs of a pair share
BATCH = {"weak": "batch_per_device", "strong": "global_batch"}
_WORK = (
    "model_args", "dataset_args", "precision", "optimizer", "optimizer_args", "clipnorm", "global_clipnorm",
    "clipvalue", "weight_decay", "steps", "epochs", "accumulation", "target_accuracy",
)  # fmt: skip
_SPEED = (
    "device_type", "jit_compile", "steps_per_execution", "start", "step_timing", "warmup_window", "warmup_max_steps",
    "warmup_tolerance",
)  # fmt: skip
_PLACE = ("machine", "host", "tensorflow_version", "keras_version", "horovod_version")
# runs that differ in one of these do not compare
SAME = (*_WORK, *_SPEED, *_PLACE)
_OPTIONAL = {
    "model": "", "dataset": "", "threads_per_device": 1, "seed": 0, "sweep": None, "round": None,
    "oversubscribed": False,
}  # fmt: skip


def prepared(table: pd.DataFrame, mode: str = "weak") -> pd.DataFrame:
    """
    Return the runs that count, with the columns of ``GROUP`` and ``ROUND``.

    Parameters
    ----------
    table : DataFrame
        One row per run, in the order in which they ran. Canaries are left out, and groups of which no run was
        completed (a model that cannot be built takes nothing from the others). The k-th lone runs of two
        configurations are taken as a pair; runs of a sweep are paired by its rounds.
    mode : {"weak", "strong"}
        Whether `batch` is that of a device or that of all devices.

    Raises
    ------
    SpecError
        For an unknown mode, or where no run of the table was completed.
    """
    field = batch_field(mode)
    rows = table.reset_index(drop=True)
    rows = rows.assign(**{name: value for name, value in _OPTIONAL.items() if name not in rows})
    if "global_batch" not in rows:
        rows["global_batch"] = rows["batch_per_device"] * rows["devices"]
    if "canary" in rows:
        rows = rows[~rows["canary"].isin([True])]
    if not (rows["status"] == "ok").any():
        why = f"; the first says: {rows['reason'].iloc[0]}" if len(rows) and "reason" in rows else ""
        raise SpecError(f"none of {len(rows)} runs was completed, so there is nothing to compare{why}")
    rows = _filled(rows.assign(batch=rows[field]))
    completed = (rows["status"] == "ok").groupby([rows[name] for name in GROUP], sort=False).transform("any")
    rows = rows[completed]
    lone = rows["sweep"].isna() | rows["round"].isna()
    key = [*GROUP, "backend", "devices", *present(rows, VARIANT)]
    order = rows.groupby(key, dropna=False, sort=False).cumcount()
    return rows.assign(
        group=rows.groupby(list(GROUP), dropna=False, sort=False).ngroup(),
        round=rows["round"].mask(lone, order).astype(int),
        sweep=rows["sweep"].mask(lone, ""),
        seed=rows["seed"].mask(lone, 0),
    )


def _filled(rows: pd.DataFrame) -> pd.DataFrame:
    """Give what tells configurations apart a value where joined tables have none: pandas would drop such rows."""
    names = present(rows, [*GROUP, *VARIANT, "seed"])
    usual = {name: _OPTIONAL.get(name, "{}" if name == "knobs" else "") for name in names}
    return rows.assign(**{n: rows[n].where(rows[n].notna(), usual[n]).infer_objects() for n in names})


def batch_field(mode: str) -> str:
    """
    Return the field of a specification that weak or strong scaling keeps.

    Examples
    --------
    >>> batch_field("weak"), batch_field("strong")
    ('batch_per_device', 'global_batch')
    """
    if mode not in BATCH:
        raise SpecError(f"unknown mode {mode!r} of scaling; give 'weak' or 'strong'")
    return BATCH[mode]


def check_same(rows: pd.DataFrame, but: Sequence[str] = ()) -> None:
    """
    Refuse runs of several machines, and in one group runs of different work or settings, `but` these columns.

    Raises
    ------
    SpecError
        Naming the first column of ``SAME`` that has several values, and these.
    """
    for name in present(rows, [name for name in SAME if name not in but]):
        # a version is None where a run failed before it was known
        values = rows[name].astype(object).where(rows[name].notna(), None if name in _PLACE else "none")
        where = rows["group"] * (name not in _PLACE)
        counts = values.groupby(where).nunique()
        if (counts > 1).any():
            several = values[where == counts.idxmax()].dropna().unique()
            *first, last = [f"{v:g}" if isinstance(v, float) else str(v) for v in several]
            found = f"{', '.join(first)} and {last}"
            raise SpecError(f"scaling compares runs of one {name}, the table has {name} {found}; keep the rows of one")


def named_variants(rows: pd.DataFrame) -> pd.Series:
    """Return each run's variant, such as ``"transport=mpi"``: what differs inside its backend and batch, or nothing."""
    threads = differing(rows, ["threads_per_device"], ["model", "dataset", "batch"])
    return (differing(rows, VARIANT, ["group", "backend"]) + " " + threads).str.strip()


def differing(rows: pd.DataFrame, names: Sequence[str], within: Sequence[str]) -> pd.Series:
    """Return the values of those `names` that differ `within` columns, such as ``"transport=mpi"``, as text."""
    import pandas as pd

    found = pd.Series("", rows.index, dtype=object)
    for name in present(rows, names):
        values = rows[name].astype(str)
        varies = values.groupby([rows[column] for column in within]).transform("nunique") > 1
        shown = {v: _knobs(v) if name == "knobs" else f"{name}={v or 'unknown'}" for v in values.unique()}
        found = found + (" " + values.map(shown)).where(varies, "")
    return found.str.strip()


def present(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return those of `names` that are columns."""
    return [name for name in names if name in rows]


def command(run: Mapping[str, Any], **changes: Any) -> str:
    """
    Write the ``dcbench run`` line of a row with some fields changed.

    Examples
    --------
    >>> command({"model": "mlp", "backend": "horovod", "devices": 2, "steps": 100}, backend="single", devices=1)
    'dcbench run --model mlp --backend single --devices 1'
    """
    fields = {f.name: run[f.name] for f in spec.fields() if f.name in run} | changes
    usual = {f.name: default(f) for f in spec.fields()} | {"steps": 100}
    words = ["dcbench", "run"]
    for name, value in fields.items():
        if name in changes or not (_missing(value) or value in (usual.get(name), json.dumps(usual.get(name)))):
            words += _words(name, value)
    return shlex.join(words)


def _knobs(cell: str) -> str:
    return " ".join(f"{k}={v}" for k, v in json.loads(cell).items())


def _missing(value: Any) -> bool:
    return value is None or value != value


def _words(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if str(value) in ("True", "False"):
        return [flag if str(value) == "True" else flag.replace("--", "--no-")]
    if isinstance(value, str) and value.startswith("{"):
        return [flag, *(f"{k}={v}" for k, v in json.loads(value).items())]
    return [flag, f"{value:g}" if isinstance(value, float) else str(value)]
