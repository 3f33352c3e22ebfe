"""How much one side differs from the other, paired where rounds can be, with a verdict; it knows no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench import stats
from dcbench.comparison.conditions import Conditions, differs, labels, runs, unlike, where
from dcbench.comparison.sides import Side, counted
from dcbench.errors import SpecError
from dcbench.metrics import METRICS, Metric
from dcbench.registry import nearest
from dcbench.stats import Estimate

if TYPE_CHECKING:
    import pandas as pd

_WORDS = {  # unit of the metric: what b is called where its value is higher, and where it is lower
    "s": ("slower", "faster"),
    "examples/s": ("faster", "slower"),
    "FLOP/s": ("faster", "slower"),
    "B": ("uses more memory", "uses less memory"),
}
_BY_DIRECTION = {"higher": ("better", "worse"), "lower": ("worse", "better"), "none": ("higher", "lower")}


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """
    How the runs of one configuration, `b`, compare with those of another, `a`.

    Attributes
    ----------
    metric : str
        Name in ``METRICS``; values are in its unit.
    label_a, label_b : str
        What the sides are, such as ``"horovod × 2"``.
    ratio : Estimate
        b over a, with its 95 % interval.
    a, b : Estimate
        Median of each side with its interval.
    a_values, b_values : ndarray
        One value a run; where `paired`, entry i of both was measured in the same round.
    paired : bool
        Whether rounds of one sweep were paired, which removes the drift that both sides share.
    verdict : str
        What b is, such as ``"faster"`` or ``"uses less memory"``; else ``"no difference shown"``.
    differs : DataFrame
        Columns ``what``, ``a``, ``b``: the fields of the specification, then versions, then facts of the machine, then
        flags that are not the same.
    unlike : list of str
        In what the machines are unlike; empty unless that was allowed.
    notes : list of str
        What a reader must know: runs that were left out and why, too few runs, different work.
    runs : DataFrame
        The runs that were counted, those of a first, as from `store.tidy`.
    """

    metric: str
    label_a: str
    label_b: str
    ratio: Estimate
    a: Estimate
    b: Estimate
    a_values: np.ndarray
    b_values: np.ndarray
    paired: bool
    verdict: str
    differs: pd.DataFrame
    unlike: list[str]
    notes: list[str]
    runs: pd.DataFrame

    @property
    def sentence(self) -> str:
        """The comparison in one sentence."""
        why = "" if self.ratio.has_interval else ", one run has no interval"
        how = f"{self.a.count} + {self.b.count} runs, {'paired' if self.paired else 'not paired'}"
        where = "; unlike machines" if self.unlike else ""
        return (
            f"{METRICS[self.metric].label} of {self.label_b} is {self.ratio.times} that of {self.label_a}: "
            f"{self.verdict}{why} ({how}{where})"
        )

    def __repr__(self) -> str:
        return f"<Comparison: {self.sentence}>"


def compare(a: Side, b: Side, metric: str = "throughput", allow_unlike: bool = False) -> Comparison:
    """
    Compare two configurations by one metric.

    Parameters
    ----------
    a, b : Record, sequence of Record, or DataFrame
        The runs of one configuration each (seeds may differ); a table is one as from `load_records`. Failed runs and a
        sweep's canaries are left out.
    metric : str
        Name in ``METRICS``.
    allow_unlike : bool
        Compare runs of unlike machines; the comparison then says so.

    Returns
    -------
    Comparison
        The ratio b/a is paired by sweep and round where most runs of each side have a partner (see `stats.ratio`), else
        taken between independent runs (see `stats.ratio_unpaired`).

    Raises
    ------
    SpecError
        If a side holds no completed run, runs of several configurations, or a run of the other side; for an unknown
        metric; and for unlike machines unless allowed.

    Examples
    --------
    >>> import pandas as pd
    >>> both = pd.DataFrame({"backend": ["mirrored"] * 3 + ["horovod"] * 3, "devices": 2, "status": "ok",
    ...     "sweep": "s", "round": [0, 1, 2] * 2, "throughput": [100, 101, 99, 150, 160, 155]})
    >>> compare(both[:3], both[3:]).sentence
    'Throughput of horovod × 2 is 1.55× [1.44, 1.66] that of mirrored × 2: faster (3 + 3 runs, paired)'
    """
    about = _known(metric)
    one, other = counted("a", a, about, allow_unlike), counted("b", b, about, allow_unlike)
    _check_apart(one.rows, other.rows)
    apart = unlike(one.conditions, other.conditions)
    if apart and not allow_unlike:
        raise SpecError(
            f"a ran on {where(one.conditions)} and b on {where(other.conditions)}, which are unlike machines "
            f"({'; '.join(apart)}); compare runs of one machine, or ask for it with allow_unlike"
        )
    rows_a, rows_b, paired, lone = _matched(one.rows, other.rows)
    values_a, values_b = rows_a[metric].to_numpy(float), rows_b[metric].to_numpy(float)
    found = (stats.ratio if paired else stats.ratio_unpaired)(values_b, values_a)
    label_a, label_b = labels(one.conditions, other.conditions)
    left = [f"{label}: {said}" for label, side in ((label_a, one), (label_b, other)) for said in side.left_out]
    return Comparison(
        metric=metric,
        label_a=label_a,
        label_b=label_b,
        ratio=found,
        a=stats.median_interval(values_a),
        b=stats.median_interval(values_b),
        a_values=values_a,
        b_values=values_b,
        paired=paired,
        verdict=stats.verdict(found, *(_WORDS.get(about.unit) or _BY_DIRECTION[about.better])),
        differs=differs(one.conditions, other.conditions),
        unlike=apart,
        notes=[*left, *lone, *_cautions(one.conditions, other.conditions, values_a, values_b)],
        runs=_joined(rows_a, rows_b),
    )


def _known(metric: str) -> Metric:
    if metric not in METRICS:
        raise SpecError(f"unknown metric {metric!r}{nearest(str(metric), list(METRICS))} (known: {', '.join(METRICS)})")
    return METRICS[metric]


def _check_apart(rows_a: pd.DataFrame, rows_b: pd.DataFrame) -> None:
    if "run_id" in rows_a and "run_id" in rows_b and (both := set(rows_a["run_id"]) & set(rows_b["run_id"])):
        raise SpecError(f"run {min(both)!r} is on both sides; give each run to one of them")


def _matched(rows_a: pd.DataFrame, rows_b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, bool, list[str]]:
    """Pair the runs by sweep and round where most of both sides have a partner; say what then has none."""
    a, b = _by_round(rows_a), _by_round(rows_b)
    shared = sorted(a.keys() & b.keys())
    if 2 * len(shared) <= max(len(rows_a), len(rows_b)):
        return rows_a, rows_b, False, []
    lone = len(rows_a) + len(rows_b) - 2 * len(shared)
    said = [f"{runs(lone)} left out: the other side completed no run in that round"] if lone else []
    return rows_a.loc[[a[k] for k in shared]], rows_b.loc[[b[k] for k in shared]], True, said


def _by_round(rows: pd.DataFrame) -> dict[tuple[str, int, int], Any]:
    """Return the row of each (sweep, round, how many before it in that round, by seed)."""
    if "sweep" not in rows or "round" not in rows:
        return {}
    swept = rows[rows["sweep"].notna() & rows["round"].notna()]
    swept = swept.sort_values("seed", kind="stable") if "seed" in swept else swept
    again = swept.groupby(["sweep", "round"]).cumcount()
    keys = zip(swept["sweep"].map(str), swept["round"].map(int), again, strict=True)
    return dict(zip(keys, swept.index, strict=True))


def _joined(rows_a: pd.DataFrame, rows_b: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([rows_a, rows_b], ignore_index=True)


def _cautions(a: Conditions, b: Conditions, values_a: np.ndarray, values_b: np.ndarray) -> list[str]:
    """Say what weakens a comparison: unequal work, few runs."""
    pairs = {n: (a["spec"].get(n), b["spec"].get(n)) for n in ("model", "dataset")}
    said = [f"different {n}s, {one} and {other}: an example is not the same work" for n, (one, other) in pairs.items()
            if one != other]  # fmt: skip
    fewest = min(len(values_a), len(values_b))
    few = [f"{runs(fewest)} of a side: fewer than {stats.CLAIM_FROM} carry no claim"]
    return said + few * (fewest < stats.CLAIM_FROM)
