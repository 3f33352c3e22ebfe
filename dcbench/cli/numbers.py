"""Estimates for people and for programs: with units as text, without NaN as JSON."""

from __future__ import annotations

import math
from typing import Any

from dcbench.stats import Estimate
from dcbench.terminal import quantity


def shown(estimate: Estimate | None, unit: str) -> str:
    """
    Write an estimate with its interval and unit.

    Examples
    --------
    >>> shown(Estimate(1523.0, 1490.0, 1560.0, 5), "examples/s")
    '1,523 examples/s [1,490, 1,560]'
    """
    if estimate is None or math.isnan(estimate.value):
        return "-"
    value = quantity(estimate.value, unit)
    if not estimate.has_interval:
        return value
    low, high = (quantity(end, unit).removesuffix(f" {unit}") for end in (estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def times(estimate: Estimate | None) -> str:
    """Write a ratio with its interval.

    Examples
    --------
    >>> times(Estimate(1.93, 1.9, 1.95, 5))
    '1.93× [1.90, 1.95]'
    """
    if estimate is None or math.isnan(estimate.value):
        return "-"
    return estimate.times


def plain(estimate: Estimate | None) -> dict[str, Any] | None:
    """Return an estimate as JSON values; None where there is none, and for ends that it does not have."""
    if estimate is None or math.isnan(estimate.value):
        return None
    ends = {"low": estimate.low, "high": estimate.high} if estimate.has_interval else {"low": None, "high": None}
    return {"value": estimate.value, **ends, "count": estimate.count}
