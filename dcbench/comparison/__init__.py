"""Compares the runs of two configurations: by how much they differ, how sure that is, and what else was different.

It knows records and statistics, not how a run is made or drawn.
"""

from dcbench.comparison.comparing import Comparison, compare
from dcbench.comparison.sides import Side

__all__ = ["Comparison", "Side", "compare"]
