"""Throughput of each configuration: every run, or quantiles of many, the median and its interval."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.figures._configurations import configured, first_rows
from dcbench.figures._style import (
    MAX_MARKS,
    Figure,
    add_median,
    add_runs,
    caption,
    finished,
    measured,
    rounded,
    stacked,
)
from dcbench.figures._theme import colour, translucent
from dcbench.metrics import METRICS
from dcbench.store import Runs

_ROW_PX, _PANEL_PX = 36, 95
_QUANTILES = {"lowerfence": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "upperfence": 0.95}


def plot_throughput(runs: Runs) -> Figure:
    """
    Draw the throughput of each configuration: every run, the median and its 95 % interval; a panel for each model.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `dcbench.load_records`. Of more runs than ``MAX_MARKS`` allows, quantiles are drawn.

    Raises
    ------
    SpecError
        If no run was completed.
    """
    table = measured(runs)
    good = table[(table["status"] == "ok") & (table["throughput"] > 0)]
    if good.empty:
        raise SpecError("none of the runs was completed and timed; there is no throughput to draw")
    shown, notes = first_rows(configured(good))
    models = list(shown["model"].unique())
    counts = shown.groupby("model", sort=False)["configuration"].nunique()
    many = len(shown) + counts.sum() > MAX_MARKS
    if many:
        notes = [*notes, "boxes: quartiles of the runs, whiskers: their 5th and 95th percentiles"]
    made = stacked(models, [int(counts[m]) for m in models], _ROW_PX, _PANEL_PX)
    for row, model in enumerate(models, 1):
        own = shown[shown["model"] == model].drop(columns="configuration")
        _add_rows(made, row, configured(own), many)  # named anew: the model is the panel's
    made.update_layout(showlegend=False)
    title = f"Throughput of {'all runs' if many else 'every run'}, median and 95 % interval"
    panel_px = int(counts.sum()) * _ROW_PX + len(models) * _PANEL_PX
    return finished(made, title, caption(runs, notes=notes), panel_px)


def _add_rows(made: go.Figure, row: int, table: pd.DataFrame, many: bool) -> None:
    """Fill the panel of one model."""
    groups = table.groupby("configuration", sort=False)
    for name, found in groups:
        (_add_quantiles if many else _add_repeats)(made, row, str(name), found)
    metric, widest = METRICS["throughput"], 1.35 * table["throughput"].max()  # wider intervals run out of sight
    title = f"{metric.label} ({metric.unit}), higher is better"
    made.update_xaxes(title_text=title, range=[0, widest], row=row, col=1)
    downwards = [len(groups) - 0.5, -0.8]  # with room for the number above the first row
    made.update_yaxes(range=downwards, type="category", row=row, col=1)


def _add_repeats(made: go.Figure, row: int, name: str, found: pd.DataFrame) -> None:
    """Add open markers for the runs, and a bar with its interval for their median."""
    values, shade = found["throughput"], colour(found["backend"].iloc[0])
    add_runs(made, name, values, shade, found["model"].iloc[0], row)
    add_median(made, name, stats.median_interval(values), shade, ",.0f", row)


def _add_quantiles(made: go.Figure, row: int, name: str, found: pd.DataFrame) -> None:
    """Add a box of the runs, and a bar with its interval for their median."""
    shade, values = colour(found["backend"].iloc[0]), found["throughput"]
    box: dict[str, Any] = {end: rounded([values.quantile(q)]) for end, q in _QUANTILES.items()}
    box |= {"line": {"color": shade, "width": 1}, "fillcolor": translucent(shade, 0.25), "width": 0.5}
    made.add_box(**box, y=[name], orientation="h", name=name, row=row, col=1)
    add_median(made, name, stats.median_interval(values), shade, ",.0f", row)
