"""What a run uses now, in a line, and what came of it, in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ipywidgets

from dcbench.metrics import METRICS
from dcbench.record import Record
from dcbench.terminal import quantity
from dcbench.watching import Use
from dcbench.widgets._tables import sentence, table


def used(use: Sequence[Use]) -> str:
    """
    Put what the ranks of a run use into one line.

    Examples
    --------
    >>> used([Use(0, 300_000_000, 0.75), Use(1, 200_000_000, 0.5)])
    'now using 500 MB of memory, 1.25 CPU cores'
    """
    if not use:
        return ""
    parts = [f"{quantity(sum(u.host_bytes for u in use), 'B')} of memory"]
    cores = sum(u.core_share for u in use)
    parts += [] if math.isnan(cores) else [f"{cores:.2f} CPU cores"]
    on_gpus = [u for u in use if u.gpu_bytes is not None]
    if on_gpus:
        busy = [u.gpu_share or 0.0 for u in on_gpus]
        span = f"{min(busy):.0%}" if min(busy) == max(busy) else f"{min(busy):.0%} to {max(busy):.0%}"
        parts.append(f"{quantity(sum(u.gpu_bytes or 0 for u in on_gpus), 'B')} of GPU memory, GPUs busy {span}")
    return f"now using {', '.join(parts)}"


def summary(record: Record) -> list[ipywidgets.Widget]:
    """Return a record's metrics as a table, and below it what a reader must know."""
    rows = [(m.label, quantity(record.metrics[m.name], m.unit)) for m in METRICS.values() if m.name in record.metrics]
    notes = [sentence(f"Note: {flag}") for flag in record.flags]
    return [table("Measured", rows), *notes] if rows else notes
