"""Medians and ratios of repeated measurements, with their intervals; it knows numbers only.

Speeds spread by factors, so intervals are taken over logarithms: Student's t below ten values, the bootstrap
from ten on. One value has no interval, and then nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcbench.errors import SpecError

BOOTSTRAP_FROM = 10
CONFIDENCE = 0.95
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class Estimate:
    """
    A value with its interval.

    Parameters
    ----------
    value, low, high : float
        The estimate and the ends of its interval; the ends are NaN where there was only one measurement.
    count : int
        Measurements it rests on.

    Examples
    --------
    >>> f"{Estimate(1.5, 1.25, 1.8, 5):.2f}"
    '1.50 [1.25, 1.80]'
    >>> f"{Estimate(0.75, float('nan'), float('nan'), 1):.0%}"
    '75%'
    """

    value: float
    low: float
    high: float
    count: int

    @property
    def has_interval(self) -> bool:
        """Whether there were enough measurements for an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate with value and ends multiplied by a positive factor."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.count)

    def __format__(self, form: str) -> str:
        if not self.has_interval:
            return format(self.value, form)
        return f"{format(self.value, form)} [{format(self.low, form)}, {format(self.high, form)}]"


def median_interval(values: Iterable[float], confidence: float = CONFIDENCE) -> Estimate:
    """
    Estimate the median of positive measurements and its interval.

    Parameters
    ----------
    values : iterable of float
        Positive and finite.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Estimate
        Below ten values the interval is Student's t of the logarithms (whose mean is the median if they are symmetric),
        widened to the median where needed; from ten on it is the bootstrap of the median.

    Examples
    --------
    >>> f"{median_interval([98.0, 100.0, 103.0]):.1f}"
    '100.0 [94.3, 106.7]'
    """
    sample = _positive(values)
    middle = float(np.median(sample))
    if len(sample) == 1:
        return Estimate(middle, math.nan, math.nan, 1)
    if len(sample) >= BOOTSTRAP_FROM:
        low, high = _bootstrap(sample, np.median, confidence)
    else:
        low, high = np.exp(_student(np.log(sample), confidence))
    return Estimate(middle, min(float(low), middle), max(float(high), middle), len(sample))


def ratio(above: Iterable[float], below: Iterable[float], confidence: float = CONFIDENCE) -> Estimate:
    """
    Estimate the ratio of two series of positive measurements, paired by position.

    Parameters
    ----------
    above, below : iterable of float
        Of equal length; entry i of both was measured in the same round. A pair with a NaN is left out.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Estimate
        The geometric mean of the ratios; its interval is Student's t of the log ratios below ten pairs, the bootstrap
        of their mean from ten on.

    Examples
    --------
    >>> f"{ratio([150.0, 160.0, 155.0], [100.0, 101.0, 99.0]):.2f}"
    '1.55 [1.44, 1.66]'
    """
    a, b = np.array(list(above), float), np.array(list(below), float)
    if a.shape != b.shape:
        raise SpecError(f"{len(a)} and {len(b)} measurements cannot be paired; give as many of each")
    both = np.isfinite(a) & np.isfinite(b)
    logs = np.log(_positive(a[both])) - np.log(_positive(b[both]))
    if len(logs) >= BOOTSTRAP_FROM:
        low, high = _bootstrap(logs, np.mean, confidence)
    else:
        low, high = _student(logs, confidence)
    return Estimate(math.exp(logs.mean()), math.exp(low), math.exp(high), len(logs))


def ratio_unpaired(above: Iterable[float], below: Iterable[float], confidence: float = CONFIDENCE) -> Estimate:
    """
    Estimate the ratio of two independent series of positive measurements.

    Parameters
    ----------
    above, below : iterable of float
        Of any lengths; not measured in shared rounds (where they were, `ratio` is narrower).
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Estimate
        The ratio of the geometric means; its interval is Welch's t of the logarithms (Welch, Biometrika 34, 1947),
        which does not ask for equal spreads. `count` is that of the shorter series; one value has no interval.

    Examples
    --------
    >>> f"{ratio_unpaired([150.0, 160.0, 155.0], [100.0, 101.0, 99.0, 100.0]):.2f}"
    '1.55 [1.44, 1.67]'
    """
    from scipy.stats import ttest_ind

    a, b = np.log(_positive(above)), np.log(_positive(below))
    shift, count = float(a.mean() - b.mean()), min(len(a), len(b))
    low = high = math.nan
    if count > 1 and a.std() + b.std() > 0:
        low, high = ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
    elif count > 1:
        low = high = shift
    return Estimate(math.exp(shift), math.exp(low), math.exp(high), count)


def verdict(estimate: Estimate, higher: str = "higher", lower: str = "lower", against: float = 1.0) -> str:
    """
    Say what a ratio shows.

    Parameters
    ----------
    estimate : Estimate
    higher, lower : str
        The words for an interval wholly above or below `against`.
    against : float

    Returns
    -------
    str
        ``"no difference shown"`` where the interval spans `against` or there is none.

    Examples
    --------
    >>> verdict(Estimate(1.5, 1.25, 1.8, 5), "faster", "slower")
    'faster'
    >>> verdict(Estimate(1.1, 0.98, 1.2, 5))
    'no difference shown'
    """
    if not estimate.has_interval or estimate.low <= against <= estimate.high:
        return NO_DIFFERENCE
    return higher if estimate.low > against else lower


def differences(curve: Sequence[float], reference: Sequence[float]) -> np.ndarray:
    """Return |a - b| / |b| for each step that two curves share.

    Examples
    --------
    >>> differences([2.0, 1.5], [2.0, 1.0, 0.5]).tolist()
    [0.0, 0.5]
    """
    shared = min(len(curve), len(reference))
    if not shared:
        raise SpecError("two curves without a common step cannot be compared; give curves of completed runs")
    a, b = np.asarray(curve[:shared], float), np.asarray(reference[:shared], float)
    found: np.ndarray = np.abs(a - b) / np.abs(b)
    return found


def _positive(values: Iterable[float]) -> np.ndarray:
    sample = np.array(list(values), float)
    if not len(sample):
        raise SpecError("no measurements were given; give at least one")
    bad = sample[~(np.isfinite(sample) & (sample > 0))]
    if len(bad):
        raise SpecError(f"the measurement {bad[0]} is not a positive number; leave failed runs out")
    return sample


def _student(sample: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the t interval of a mean; NaN for one value."""
    from scipy.stats import t

    if len(sample) == 1:
        return math.nan, math.nan
    half = float(t.ppf((1 + confidence) / 2, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return float(sample.mean() - half), float(sample.mean() + half)


def _bootstrap(sample: np.ndarray, statistic: Callable[..., Any], confidence: float) -> tuple[float, float]:
    """
    Return the expanded percentile bootstrap interval (Hesterberg, The American Statistician 69(4), 2015).

    The plain bootstrap of ten values covers 89 % where it says 95 %; widening its level by t/z and
    sqrt(n/(n-1)) repairs that. The seed is fixed, so that a report can be made again.
    """
    from scipy.stats import bootstrap, norm, t

    n = len(sample)
    tail = norm.cdf(t.ppf((1 - confidence) / 2, n - 1) * math.sqrt(n / (n - 1)))
    found = bootstrap((sample,), statistic, confidence_level=1 - 2 * tail, method="percentile", rng=0)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
