"""Whether a machine changed while a sweep ran, by the speed of its canary; it knows tables of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcbench.stats.intervals import NO_DIFFERENCE, Estimate, ratio_unpaired, verdict

if TYPE_CHECKING:
    import pandas as pd

DRIFT = 0.03  # of the canary's throughput


def canary_ratios(table: pd.DataFrame) -> dict[str, Estimate | None]:
    """
    Compare each sweep's canary at its end with that at its start.

    Parameters
    ----------
    table : DataFrame
        As from `dcbench.load_records`; only canaries that ended well count.

    Returns
    -------
    dict of str to Estimate or None
        By sweep that had canaries: the ratio of throughputs, end over start, with its 95 % interval; None where there
        are not two canaries at both.
    """
    if "canary" not in table:
        return {}
    found: dict[str, Estimate | None] = {}
    for sweep, rows in table[table["canary"].isin([True])].groupby("sweep"):
        good = rows[rows["status"] == "ok"]
        first = good.loc[good["round"] < 0, "throughput"]
        last = good.loc[(good["round"] >= 0) & (good["round"] == good["round"].max()), "throughput"]
        found[str(sweep)] = ratio_unpaired(last, first) if min(len(first), len(last)) > 1 else None
    return found


def has_drifted(found: Estimate) -> bool:
    """
    Say whether a canary's ratio is a drift: by more than ``DRIFT``, and beyond its own interval.

    Examples
    --------
    >>> has_drifted(Estimate(0.9, 0.85, 0.95, 3)), has_drifted(Estimate(0.9, 0.7, 1.1, 3))
    (True, False)
    """
    return abs(found.value - 1) > DRIFT and verdict(found) != NO_DIFFERENCE
