"""What a change to training does to a score, measured over repeats; it knows numbers only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.registry import nearest
from dcbench.stats import Estimate
from dcbench.stats.intervals import student


@dataclass(frozen=True)
class Effect:
    """
    What one change does to a score, against training without it.

    Attributes
    ----------
    name : str
        The change.
    differences : tuple of float
        Score with the change minus score without it, one a repeat, in the score's unit.
    estimate : Estimate
        Their mean, with its 95 % interval.
    verdict : {"better", "worse", "no difference shown"}
        For a score of which more is better.
    """

    name: str
    differences: tuple[float, ...]
    estimate: Estimate
    verdict: str


def effects(scores: pd.DataFrame, baseline: str) -> list[Effect]:
    """
    Estimate what each change does to a score.

    Parameters
    ----------
    scores : DataFrame
        One column a way of training, one row a repeat. The values of a row share what chance decides (examples,
        seed), so that their differences do not hold it.
    baseline : str
        The column without a change.

    Returns
    -------
    list of Effect
        One for each other column, in order. Intervals are Student's t of the paired differences, each of them 95 %
        by itself; one repeat has no interval and shows no difference.

    Raises
    ------
    SpecError
        If there is no such column, or a score is missing.

    Examples
    --------
    >>> scores = pd.DataFrame({"plain": [0.80, 0.82, 0.81], "dropout": [0.85, 0.86, 0.87]})
    >>> (found,) = effects(scores, "plain")
    >>> f"{found.name} {found.estimate:+.3f}: {found.verdict}"
    'dropout +0.050 [+0.025, +0.075]: better'
    """
    if baseline not in scores:
        known = [str(c) for c in scores]
        raise SpecError(f"no column is named {baseline!r}{nearest(baseline, known)} (known: {', '.join(known)})")
    missing = [str(c) for c in scores if scores[c].isna().any()]
    if missing or scores.empty:
        raise SpecError(f"the scores of {', '.join(missing) or 'all'} are incomplete; give one for each repeat")
    changes = [c for c in scores if c != baseline]
    return [_effect(str(c), (scores[c] - scores[baseline]).to_numpy(float)) for c in changes]


def _effect(name: str, differences: np.ndarray) -> Effect:
    low, high = student(differences, stats.CONFIDENCE) if len(differences) > 1 else (math.nan, math.nan)
    found = Estimate(float(differences.mean()), low, high, len(differences))
    return Effect(name, tuple(differences.tolist()), found, stats.verdict(found, "better", "worse", against=0.0))
