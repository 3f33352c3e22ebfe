"""Two configurations side by side: every value, the medians, and their ratio."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench.comparison import Comparison
from dcbench.figures._style import MAX_MARKS, Figure, add_median, add_runs, bars, caption, finished, plain
from dcbench.figures._theme import QUIET, TEXT, colour
from dcbench.metrics import METRICS
from dcbench.stats import Estimate

MOST_VALUES = MAX_MARKS // 4  # of one side
_UNITS = {"B": ("GiB", 2**-30), "1": ("", 1.0)}


def plot_comparison(comparison: Comparison) -> Figure:
    """
    Draw the values of both sides with their medians and 95 % intervals, and the ratio against 1.

    Parameters
    ----------
    comparison : Comparison
        As from `dcbench.compare`. Unlike machines are named in the title.
    """
    made = make_subplots(rows=1, cols=2, column_widths=[0.6, 0.4], horizontal_spacing=0.06)
    metric = METRICS[comparison.metric]
    unit, factor = _UNITS.get(metric.unit, (metric.unit, 1.0))
    first = comparison.runs.iloc[[0, -1]]
    names = _names(comparison)
    sides = ((names[0], comparison.a_values, comparison.a), (names[1], comparison.b_values, comparison.b))
    for (name, values, middle), (_, run) in zip(sides, first.iterrows(), strict=True):
        _add_side(made, name, values * factor, middle.scaled(factor), (run["backend"], run.get("model", "")))
    _add_ratio(made, comparison)
    title = metric.label + f" ({unit})" * bool(unit)
    better = f", {metric.better} is better" if metric.better != "none" else ""
    made.update_xaxes(title_text=title + better, rangemode="tozero", row=1, col=1)
    made.update_yaxes(type="category", range=[1.5, -0.5], row=1, col=1)
    made.update_layout(showlegend=False)
    return finished(made, _title(comparison), caption(comparison.runs, notes=_notes(comparison)), 210)


def _names(comparison: Comparison) -> tuple[str, str]:
    """Return what both sides are called, never the same."""
    a, b = plain(comparison.label_a), plain(comparison.label_b)
    return (a, b) if a != b else (f"{a} (a)", f"{b} (b)")


def _title(comparison: Comparison) -> str:
    """Name both sides, the verdict, and the machines where they are unlike."""
    label, names = METRICS[comparison.metric].label, _names(comparison)
    unlike = f"; UNLIKE MACHINES: {plain('; '.join(comparison.unlike))}" if comparison.unlike else ""
    return f"{label} of {names[1]} against {names[0]}: {comparison.verdict}{unlike}"


def _notes(comparison: Comparison) -> list[str]:
    pairs = "paired by round" if comparison.paired else "not paired"
    many = max(len(comparison.a_values), len(comparison.b_values)) > MOST_VALUES
    sampled = [f"{MOST_VALUES} quantiles of the runs of a side are drawn"] * many
    return [f"{comparison.a.count} and {comparison.b.count} runs, {pairs}", *map(plain, comparison.notes), *sampled]


def _add_side(made: go.Figure, name: str, values: np.ndarray, middle: Estimate, run: tuple[str, str]) -> None:
    """Draw the values of one side, and their median with its interval."""
    shade = colour(run[0])
    drawn = values if len(values) <= MOST_VALUES else np.quantile(values, np.linspace(0, 1, MOST_VALUES))
    add_runs(made, name, drawn, shade, run[1])
    add_median(made, name, middle, shade, ",.0f" if middle.value >= 1000 else ",.4g")


def _add_ratio(made: go.Figure, comparison: Comparison) -> None:
    """Draw the ratio with its interval, and the line of no difference."""
    found = comparison.ratio
    ends = [1.0, found.value, *((found.low, found.high) if found.has_interval else ())]
    margin = 0.5 * (max(ends) - min(ends)) or 0.1
    made.add_scatter(
        x=[1, 1],
        y=[-1, 1],
        mode="lines",
        line={"color": QUIET, "dash": "dash", "width": 1.5},
        name="no difference",
        hoverinfo="skip",
        row=1,
        col=2,
    )
    made.add_scatter(
        x=[found.value],
        y=[0],
        mode="markers",
        marker={"color": TEXT, "symbol": "circle", "size": 9},
        error_x=bars([found], TEXT),
        name="ratio",
        hovertemplate=f"{found:.2f}",
        row=1,
        col=2,
    )
    # in the middle of the panel: beside the point it could leave it, and what is left of a number is read as one
    made.add_annotation(text=f"{found:.2f}", x=0.5, xref="x2 domain", y=0, yref="y2", yshift=18, showarrow=False)
    span = [max(0.0, min(ends) - margin), max(ends) + margin]
    made.update_xaxes(title_text="Ratio, second to first", range=span, row=1, col=2)
    made.update_yaxes(visible=False, range=[-1, 1], row=1, col=2)
