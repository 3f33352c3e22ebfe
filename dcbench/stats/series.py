"""Where a series of step times or rates becomes steady, and which of its values stand out; it knows numbers only."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dcbench.errors import SpecError

_BLOCK = 5  # values of one block
_FENCED_FROM = 7
_SURE = 0.01  # stricter than usual, as the cut is chosen to make head and rest differ


def steady_state(values: Iterable[float]) -> int:
    """
    Return the index at which the steady part of a series begins.

    Parameters
    ----------
    values : iterable of float
        Positive, in the order in which they were measured, such as step times (s).

    Returns
    -------
    int
        0 where the whole series is steady, or is shorter than 20 values; a multiple of 5 where a head differs from
        the rest; the length of the series where it is not steady even in its second half.

    Notes
    -----
    MSER-5 (White, Simulation 69(6), 1997; White, Cobb and Spratt, Winter Simulation Conference, 2000): of all cuts d in
    the first half, the one whose rest gives the mean with the least standard error, the sum of (x - mean)^2 over
    (n - d)^2. Here x are the medians of blocks of five logarithms, so that a single slow step does not decide. As MSER
    also cuts heads that differ by chance, a head is kept unless the test of Mann and Whitney tells it from the rest at
    the level 0.01; of series that are steady throughout, less than 1 in 20 is then cut.

    Examples
    --------
    >>> steady_state([3.0, 2.5, 2.0, 1.8, 1.4] + [1.0, 1.1] * 20)
    5
    """
    from scipy.stats import mannwhitneyu

    logs = _logs(values)
    blocks = np.median(logs[: len(logs) // _BLOCK * _BLOCK].reshape(-1, _BLOCK), axis=1)
    if len(blocks) < 4:
        return 0
    cuts = range(len(blocks) // 2 + 1)
    errors = [blocks[d:].var() / (len(blocks) - d) for d in cuts]
    cut = int(np.argmin(errors))
    head, rest = logs[: cut * _BLOCK], logs[cut * _BLOCK :]
    if not cut or mannwhitneyu(head, rest).pvalue > _SURE:
        return 0
    return cut * _BLOCK if cut < cuts[-1] else len(logs)


def outliers(values: Iterable[float], fence: float = 3.0) -> np.ndarray:
    """
    Flag the values that stand out from a series, of which none is to be dropped.

    Parameters
    ----------
    values : iterable of float
        Positive; NaN is not flagged.
    fence : float
        Distance from the quartiles, in distances between them: 3 is "far out", 1.5 "outside" (Tukey, Exploratory Data
        Analysis, 1977). In series of 100 normal logarithms, 3 flags something in 0.3 % of them, 1.5 in half of them.

    Returns
    -------
    numpy.ndarray
        bool, of the length of `values`; of fewer than seven, whose quartiles are too rough, none is flagged.

    Examples
    --------
    >>> outliers([1.0, 1.1, 0.9, 1.0, 5.0, 1.05, 1.0]).tolist()
    [False, False, False, False, True, False, False]
    """
    sample = np.array(list(values), float)
    known = np.isfinite(sample)
    found = np.zeros(len(sample), bool)
    logs = _logs(sample[known])
    if len(logs) >= _FENCED_FROM:
        low, high = np.percentile(logs, [25, 75])
        reach = fence * (high - low)
        found[known] = (logs < low - reach) | (logs > high + reach)
    return found


def _logs(values: Iterable[float]) -> np.ndarray:
    sample = np.array(list(values), float)
    if not (sample > 0).all():
        raise SpecError(f"the value {sample[~(sample > 0)][0]} of a series is not positive; give times or rates")
    found: np.ndarray = np.log(sample)
    return found
