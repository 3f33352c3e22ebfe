"""What a run uses and what came of it, in a line and in a table that is safe to show."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from dcbench.metrics import METRICS
from dcbench.record import Record
from dcbench.terminal import clean, quantity
from dcbench.watching import Use


def used(use: Sequence[Use]) -> str:
    """Put what the ranks of a run use into one line."""
    if not use:
        return ""
    parts = [f"{quantity(sum(u.host_bytes for u in use), 'B')} of memory"]
    cores = sum(u.core_share for u in use)
    parts += [] if math.isnan(cores) else [f"{cores:.2f} CPU cores"]
    own = [u for u in use if u.gpu_bytes is not None]
    if own:
        parts.append(f"{quantity(sum(u.gpu_bytes or 0 for u in own), 'B')} of GPU memory")
        parts.append(f"GPUs busy {min(u.gpu_share or 0 for u in own):.0%} to {max(u.gpu_share or 0 for u in own):.0%}")
    return f"now using {', '.join(parts)}"


def summary(record: Record) -> str:
    """Return a table of a record's metrics and flags as HTML in which every text is escaped."""
    rows = [(m.label, quantity(record.metrics[m.name], m.unit)) for m in METRICS.values() if m.name in record.metrics]
    rows += [("Note", flag) for flag in record.flags]
    cells = "".join(
        f'<tr><th scope="row" style="text-align:left;padding-right:1em">{html.escape(clean(name))}</th>'
        f"<td>{html.escape(clean(value))}</td></tr>"
        for name, value in rows
    )
    return f"<table>{cells}</table>" if rows else ""
