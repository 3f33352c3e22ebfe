"""Throughput of each configuration: every run, the median and its interval."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.figures._style import Figure, bars, caption, colour, finished, label, rank, rounded
from dcbench.metrics import METRICS
from dcbench.store import Runs, tidy


def plot_throughput(runs: Runs) -> Figure:
    """
    Draw the throughput of each configuration: every run, the median and its 95 % interval.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `dcbench.load_records`.
    """
    table = tidy(runs)
    good = table[table["status"] == "ok"]
    if good.empty:
        raise SpecError("none of the runs was completed; there is no throughput to draw")
    groups = [(key, g["throughput"]) for key, g in good.groupby(list(stats.KEY), sort=False)]
    groups.sort(key=lambda item: (item[0][1], item[0][2], rank(item[0][0])))
    made = go.Figure()
    for (backend, devices, batch), values in groups:
        larger = batch > good["batch_per_device"].min()
        name = label(backend, devices) + (f", {batch} a step" if larger and devices == 1 else "")
        name += f", {batch} a device" if larger and devices > 1 else ""
        _add_repeats(made, name, values, colour(backend))
    metric, widest = METRICS["throughput"], 1.35 * good["throughput"].max()  # wider intervals run out of sight
    made.update_xaxes(title_text=f"{metric.label} ({metric.unit}), higher is better", range=[0, widest])
    downwards = [len(groups) - 0.5, -0.8]  # with room for the number above the first row
    made.update_yaxes(range=downwards, showgrid=True, type="category")
    made.update_layout(showlegend=False)
    title = "Throughput of every run, median and 95 % interval"
    return finished(made, title, caption(table), height=150 + 40 * len(groups))


def _add_repeats(made: go.Figure, name: str, values: pd.Series, shade: str) -> None:
    """Add one row: open circles for the runs, a bar with its interval for their median."""
    middle = stats.median_interval(values)
    made.add_scatter(
        x=rounded(values),
        y=[name] * len(values),
        mode="markers",
        marker={"color": shade, "symbol": "circle-open", "size": 8, "opacity": 0.7},
        name=name,
        hovertemplate="%{x:,.0f} examples/s",
    )
    made.add_scatter(
        x=[middle.value],
        y=[name],
        mode="markers+text",
        marker={"color": shade, "symbol": "line-ns-open", "size": 16, "line": {"width": 3}},
        error_x=bars([middle], shade),
        text=[f"{middle.value:,.0f}"],
        textposition="top center",
        name=name,
        hovertemplate=f"median {middle:,.0f} examples/s",
    )
