"""How a learning rate follows the batch, and what training then reaches; it knows runs only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.stats import Estimate
from dcbench.store import Runs, tidy

if TYPE_CHECKING:
    import pandas as pd

SAME, SCALED = "the same learning rate", "a learning rate in proportion to the batch"


def by_rule(runs: Runs) -> dict[str, pd.DataFrame]:
    """
    Sort completed runs by how their learning rate follows their global batch.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        The smallest global batch sets the learning rate that the others are compared with.

    Returns
    -------
    dict of str to DataFrame
        ``SAME`` and ``SCALED`` (the linear scaling rule: Goyal et al. 2017, "Accurate, Large Minibatch SGD", section
        2.1), each with the runs of the smallest batch; without a rule that only they follow.

    Raises
    ------
    SpecError
        If no run was completed, or a learning rate follows neither rule.

    Examples
    --------
    >>> import pandas as pd
    >>> same = {"status": "ok", "devices": 1, "lr_scaling": False}
    >>> rates = {"global_batch": [16, 32, 32], "learning_rate": [0.1, 0.1, 0.2]}
    >>> {rule: list(rows.index) for rule, rows in by_rule(pd.DataFrame(rates | same, index=[0, 1, 2])).items()}
    {'the same learning rate': [0, 1], 'a learning rate in proportion to the batch': [0, 2]}
    """
    table = tidy(runs)
    table = table[table["status"] == "ok"]
    if table.empty:
        raise SpecError("none of the runs was completed; make runs over several batches and learning rates")
    rate = table["learning_rate"] * np.where(table["lr_scaling"].astype(bool), table["devices"], 1)
    batch = table["global_batch"]
    growth, least = batch / batch.min(), rate[batch == batch.min()].min()
    same, scaled = np.isclose(rate, least), np.isclose(rate, least * growth)
    if not (same | scaled).all():
        k = int(np.argmin(same | scaled))
        raise SpecError(
            f"a run with {batch.iloc[k]} examples a step has a learning rate of {rate.iloc[k]:g}, and the smallest "
            f"batch of {batch.min()} has {least:g}; give runs with this rate, or with one in proportion to the batch"
        )
    found = {SAME: table[same], SCALED: table[scaled]}
    return {rule: rows for rule, rows in found.items() if rows["global_batch"].nunique() > 1}


def learning_rates(runs: Runs, metric: str = "test_loss") -> list[str]:
    """
    Say what each rule reaches with larger batches, against the smallest, and where a difference is shown.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As for `by_rule`; those with the same seed are pairs.
    metric : str
        A column that is positive, and better where it is lower.

    Returns
    -------
    list of str
        One a rule, such as ``"With the same learning rate, the test loss relative to the smallest batch: 4 × the batch
        2.10 [1.90, 2.30], higher."``
    """
    said = []
    for rule, rows in by_rule(runs).items():
        ratios = _against_least(rows, metric).items()
        several = [f"{growth:g} × the batch {ratio:.2f}, {stats.verdict(ratio)}" for growth, ratio in ratios]
        about = f"With {rule}, the {metric.replace('_', ' ')} relative to the smallest batch"
        said.append(f"{about}: {'; '.join(several)}.")
    return said


def _against_least(rows: pd.DataFrame, metric: str) -> dict[float, Estimate]:
    """Return the metric's ratio to that of the smallest batch, paired by seed, by how much larger the batch is."""
    by_seed = rows.pivot_table(index="seed", columns="global_batch", values=metric, aggfunc="median")
    least = by_seed.columns.min()
    return {b / least: stats.ratio(by_seed[b], by_seed[least]) for b in by_seed.columns if b != least}
