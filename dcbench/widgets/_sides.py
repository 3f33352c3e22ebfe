"""The configurations that runs repeat, by sweep, each with a name that tells it from the others; it knows no widget."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dcbench.figures._configurations import texts, what_differs
from dcbench.figures._style import label, plain, rank
from dcbench.spec import field_names
from dcbench.widgets._choices import LONE

_BEGIN = ("model", "backend", "devices")  # how a name begins
_SHARES = {"batch_per_device": "{} a device", "threads_per_device": "{} cores a device"}
_UNKNOWN = "unknown"  # in place of a model or a backend that a table does not name
_USUAL = (("threads_per_device", "1"),)  # not worth a word
_FIRST = (*_SHARES, "transport", "compression", "knobs", "target_accuracy", "dataset", "precision", "optimizer")
_NOT_APART = ("seed", *_BEGIN)  # runs of one configuration may differ in their seed


class Sides:
    """
    The configurations of some runs.

    Parameters
    ----------
    runs : DataFrame
        As from `dcbench.load_records`; canaries are left out.

    Attributes
    ----------
    sweeps : list of str
        That of the last run first.
    """

    def __init__(self, runs: pd.DataFrame) -> None:
        kept = runs[~runs["canary"].isin([True])]
        self._runs = kept.assign(**{n: kept[n].where(kept[n].notna(), _UNKNOWN) for n in ("model", "backend")})
        self._sweep = self._runs["sweep"].fillna(LONE)
        self.sweeps = list(dict.fromkeys(self._sweep[::-1])) or [LONE]
        self._found: dict[str, dict[str, pd.DataFrame]] = {}

    def of(self, sweep: str) -> dict[str, pd.DataFrame]:
        """Return the runs of each configuration of a sweep, by its name; none for a sweep that is not known."""
        if sweep not in self._found:
            self._found[sweep] = _by_name(self._runs[self._sweep == sweep])
        return self._found[sweep]

    def first(self) -> tuple[str, str, str]:
        """Return a sweep to begin with, the newest in which two configurations were completed, and two of its names.

        They are two backends on the most devices and alike in all else, where there are such.
        """
        two = (sweep for sweep in self.sweeps if len(_completed(self.of(sweep))) > 1)
        sweep = next(two, self.sweeps[0])
        known = self.of(sweep)
        good = _completed(known)
        alike: dict[tuple[int, str], list[str]] = {}
        for name, run in good.items():
            alike.setdefault((run["devices"], name.replace(run["backend"], "", 1)), []).append(name)
        pairs = [names for _, names in sorted(alike.items(), key=lambda a: -a[0][0]) if len(names) > 1]
        a, b, *_ = [*(pairs[0] if pairs else good), *known, "", ""]
        return sweep, a, b


def counted(rows: pd.DataFrame) -> str:
    """
    Count the runs of a configuration in words.

    Examples
    --------
    >>> counted(pd.DataFrame({"status": ["ok", "failed", "ok"]}))
    '3 runs, 1 not completed'
    """
    failed = int((rows["status"] != "ok").sum())
    return f"{len(rows)} run{'s' * (len(rows) != 1)}" + f", {failed} not completed" * bool(failed)


def _completed(known: dict[str, pd.DataFrame]) -> dict[str, pd.Series]:
    """Return a run of each configuration that has a completed one."""
    return {name: rows.iloc[0] for name, rows in known.items() if (rows["status"] == "ok").any()}


def _by_name(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    fields = dict.fromkeys(n for n in (*_FIRST, *field_names(), "machine", "host") if n in runs)
    apart = [n for n in fields if n not in _NOT_APART]
    keys = runs[list(_BEGIN)].assign(**{n: texts(runs[n]) for n in apart})
    kinds = keys.drop_duplicates()
    numbers = keys.groupby(list(keys), sort=False, dropna=False).ngroup()
    numeric = runs.loc[kinds.index]
    order = sorted(
        range(len(kinds)),
        key=lambda k: (*numeric.iloc[k][["model", "batch_per_device", "devices"]], rank(kinds["backend"].iloc[k])),
    )
    found: dict[str, pd.DataFrame] = {}
    names = _names(kinds, apart)
    for number in order:
        name = names[number]
        found[name if name not in found else f"{name} ({number + 1})"] = runs[numbers == number]
    return found


def _names(kinds: pd.DataFrame, apart: Sequence[str]) -> list[str]:
    """Name each configuration by as few of the values that set it apart as tell them all apart."""
    told: list[str] = []
    for name in apart:
        if len(kinds.drop_duplicates([*_BEGIN, *told])) == len(kinds):
            break
        if len(kinds.drop_duplicates([*_BEGIN, *told, name])) > len(kinds.drop_duplicates([*_BEGIN, *told])):
            told.append(name)
    shares = [n for n in _SHARES if n in told]
    others = what_differs(kinds, [n for n in told if n not in _SHARES], "")
    several = kinds["model"].nunique() > 1
    names = []
    for kind, parts in zip(kinds.to_dict("records"), others, strict=True):
        begin = [plain(kind["model"])] * several + [label(kind["backend"], kind["devices"])]
        named = [_SHARES[n].format(kind[n]) for n in shares if (n, kind[n]) not in _USUAL]
        names.append(", ".join([*begin, *named, *parts]))
    return names
