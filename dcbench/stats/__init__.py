"""Statistics of repeated measurements: intervals, ratios, scaling; they know numbers and tables only."""

from dcbench.stats.canary import canary_ratios, has_drifted
from dcbench.stats.grouping import SAME, batch_field
from dcbench.stats.intervals import (
    BOOTSTRAP_FROM,
    CONFIDENCE,
    NO_DIFFERENCE,
    Estimate,
    differences,
    median_interval,
    ratio,
    ratio_unpaired,
    verdict,
)
from dcbench.stats.laws import LAWS, LawFit, fit_scaling_law
from dcbench.stats.scaling import CLAIM_FROM, KEY, scaling, speedups
from dcbench.stats.series import outliers, steady_state
from dcbench.stats.target import time_to_target

__all__ = [
    "BOOTSTRAP_FROM", "CLAIM_FROM", "CONFIDENCE", "KEY", "LAWS", "NO_DIFFERENCE", "SAME", "Estimate", "LawFit",
    "batch_field", "canary_ratios", "differences", "fit_scaling_law", "has_drifted", "median_interval", "outliers",
    "ratio", "ratio_unpaired", "scaling", "speedups", "steady_state", "time_to_target", "verdict",
]  # fmt: skip
