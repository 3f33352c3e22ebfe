"""Speed-up and efficiency over the number of devices, as a figure and as a table to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench import stats
from dcbench.figures._style import Figure, bars, caption, finished, label, rank, rounded
from dcbench.figures._theme import DASHES, QUIET, colour
from dcbench.stats import Estimate
from dcbench.store import Runs, tidy

_ABOVE = " above 100\u00a0%: is the base right?"


def plot_scaling(runs: Runs, base: str = "single", ceiling: str = "independent") -> Figure:
    """
    Draw weak scaling: speed-up and efficiency against the number of devices, with the ideal and the ceiling.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `dcbench.load_records`.
    base, ceiling : str
        As for `stats.scaling`.
    """
    found = stats.scaling(tidy(runs), base, ceiling)
    counts = sorted(set(found["devices"]))
    made = make_subplots(rows=1, cols=2, horizontal_spacing=0.12)
    ideal = {"mode": "lines", "line": {"color": QUIET, "dash": "dash", "width": 1.5}, "name": "ideal"}
    made.add_scatter(x=counts, y=counts, row=1, col=1, **ideal)
    made.add_scatter(x=counts, y=[100] * len(counts), row=1, col=2, showlegend=False, **ideal)
    backends = sorted(set(found["backend"]) - {base}, key=rank)
    for place, backend in enumerate(backends):
        rows = found[found["backend"] == backend].sort_values("devices")
        # a little apart, so that intervals at the same count can be told from each other
        x = rows["devices"] + (place - (len(backends) - 1) / 2) * 0.04 * (max(counts) - min(counts) or 1)
        line = {
            "name": backend + (" (the ceiling)" if backend == ceiling else ""),
            "line": {"color": colour(backend), "dash": DASHES.get(backend, "solid")},
            "legendgroup": backend,
        }
        _add_estimates(made, x, list(rows["speedup"]), row=1, col=1, **line)
        percent = [e.scaled(100) for e in rows["efficiency"]]
        _add_estimates(made, x, percent, row=1, col=2, showlegend=False, **line)
    made.update_xaxes(title_text="Devices", tickvals=counts)
    highest = max(1.25, *(1.25 * e.value for e in found["efficiency"]))  # wider intervals run out of sight
    made.update_yaxes(title_text=f"Speed-up over {base} × 1", range=[0, highest * max(counts)], row=1, col=1)
    made.update_yaxes(title_text="Efficiency (%)", range=[0, highest * 100], row=1, col=2)
    return finished(made, "Weak scaling: the same batch on every device", caption(runs), 340)


def scaling_summary(runs: Runs, base: str = "single", ceiling: str = "independent") -> pd.DataFrame:
    """Return `stats.scaling` as a table to read: each estimate as its value and interval."""
    found = stats.scaling(tidy(runs), base, ceiling)
    return pd.DataFrame(
        {
            "configuration": [label(b, n) for b, n in zip(found["backend"], found["devices"], strict=True)],
            "runs": found["repeats"],
            "throughput (examples/s)": [_read(e, ",.0f") for e in found["throughput"]],
            f"speed-up over {base} × 1": [_read(e, ".2f") for e in found["speedup"]],
            "efficiency": [_read(e, ".0%") + _ABOVE * (e.low > 1) for e in found["efficiency"]],
            "of the ceiling": ["" if e is None else _read(e, ".0%") for e in found["of_ceiling"]],
        }
    ).set_index("configuration")


def _read(estimate: Estimate, form: str) -> str:
    """Write an estimate so that a narrow column breaks before its interval, not within."""
    return format(estimate, form).replace(", ", ",\u00a0")


def _add_estimates(made: go.Figure, x: pd.Series, estimates: Sequence[Estimate], **line: Any) -> None:
    made.add_scatter(
        x=rounded(x),
        y=rounded([e.value for e in estimates]),
        mode="lines+markers",
        marker={"size": 8},
        error_y=bars(estimates, line["line"]["color"]),
        text=[f"{e:.3g}" for e in estimates],
        hovertemplate="%{text}",
        **line,
    )
