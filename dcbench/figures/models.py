"""Models side by side: how large they are, by formula and as built, and how they learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench.errors import SpecError
from dcbench.figures._style import MAX_MARKS, Figure, caption, finished, headed, plain, rounded
from dcbench.figures._theme import QUIET, SHADES, TEXT, marker, translucent
from dcbench.record import Record

_PANELS = {
    "parameters": "Parameters",
    "flops_per_example": "Training FLOPs for one example",
    "state_bytes": "Weights, gradients and optimizer state (B)",
    "peak_host_bytes": "Peak host memory of the run (B)",
}
_ROW_PX, _PANEL_PX = 24, 62
_SMOOTHED = 20  # steps of a running mean, as many before a step as after it


def plot_models(records: Sequence[Record], formula: Mapping[str, Mapping[str, float]] | None = None) -> Figure:
    """
    Draw parameters, training FLOPs and memory of models, as built and, where given, by formula.

    Parameters
    ----------
    records : sequence of Record
        The first completed run of each model counts.
    formula : mapping of str to mapping of str to float, optional
        By model: any of ``parameters``, ``flops_per_example`` (FLOP), ``state_bytes`` and ``peak_host_bytes`` (B).

    Raises
    ------
    SpecError
        If no run completed.
    """
    runs = _first_runs(records)
    sizes = {name: _sizes(record) for name, record in runs.items()}
    panels = [key for key in _PANELS if any(found.get(key) for found in sizes.values())]
    made = make_subplots(
        rows=len(panels),
        cols=1,
        vertical_spacing=_PANEL_PX / (len(panels) * (_PANEL_PX + _ROW_PX * len(runs))),
        subplot_titles=[_PANELS[key] for key in panels],
    )
    for row, key in enumerate(panels, 1):
        by_formula = {m: (formula or {}).get(m, {}).get(key) for m in runs}
        _add_sizes(made, row, "by formula", by_formula, {"size": 15, "color": QUIET, "line": {"width": 2}}, "-open")
        _add_sizes(made, row, "as built", {m: found.get(key) for m, found in sizes.items()}, {"size": 7, "color": TEXT})
        axis = {"type": "log", "dtick": 1, "tickformat": "~s", "row": row, "col": 1}
        made.update_xaxes(**axis, range=_decades(made, f"x{row if row > 1 else ''}"))
    made.update_yaxes(type="category", categoryarray=[plain(m) for m in runs][::-1], showgrid=True)
    under = caption(
        list(runs.values()), repeats=False, notes=["logarithmic: each mark on the axis is ten times the one before"]
    )
    height = len(panels) * (_PANEL_PX + _ROW_PX * len(runs))
    return finished(headed(made), "How large each model is", under, height)


def plot_learning(records: Sequence[Record]) -> Figure:
    """
    Draw training loss and, below it, accuracy on the test split by step; one line a model.

    Parameters
    ----------
    records : sequence of Record
        The first completed run of each model is drawn.

    Raises
    ------
    SpecError
        If no run completed.

    Notes
    -----
    The loss of each step is drawn pale, its mean over the ``20`` steps around it as a line (fewer at both ends).
    Accuracy is there for runs that sought a target accuracy, and so were evaluated on the way.
    """
    runs = _first_runs(records)
    tested = any(r.series("test_accuracy") for r in runs.values())
    rows = 2 if tested else 1
    made = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for place, (name, record) in enumerate(runs.items()):
        shade = SHADES[place % len(SHADES)]
        look = {"name": plain(name), "legendgroup": plain(name)}
        _add_loss(made, record, shade, look, max(2, MAX_MARKS // (3 * len(runs))))
        for found in record.series("test_accuracy"):
            sign = {"symbol": marker(name), "size": 7, "color": shade}
            line = {"mode": "lines+markers", "line": {"color": shade, "width": 1.5}, "marker": sign}
            hover = f"{plain(name)}, step %{{x}}: %{{y:.1%}}<extra></extra>"
            steps, values = found.indices(), rounded(found.values)
            made.add_scatter(x=steps, y=values, hovertemplate=hover, showlegend=False, row=2, col=1, **line, **look)
    made.update_yaxes(title_text="Training loss", rangemode="tozero", row=1, col=1)
    if tested:
        made.update_yaxes(title_text="Test accuracy", tickformat=".0%", row=2, col=1)
    made.update_xaxes(title_text="Optimizer step", row=rows, col=1)
    note = f"loss: each step pale, and the mean of the {_SMOOTHED} steps around it"
    return finished(made, "How the models learn", caption(list(runs.values()), False, [note]), 240 * rows)


def _first_runs(records: Sequence[Record]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for record in records:
        model = record.spec.get("model")
        if record.ok:
            found.setdefault(str(model.get("function")) if isinstance(model, Mapping) else str(model), record)
    if not found:
        raise SpecError(f"none of {len(records)} runs completed; there is no model to draw")
    return found


def _sizes(record: Record) -> dict[str, float]:
    model, states = record.model, ("weight_bytes", "gradient_bytes", "optimizer_bytes")
    found = {key: model[key] for key in ("parameters", "flops_per_example") if model.get(key)}
    if all(key in model for key in states):
        found["state_bytes"] = sum(model[key] for key in states)
    if "peak_host_bytes" in record.metrics:
        found["peak_host_bytes"] = record.metrics["peak_host_bytes"]
    return found


def _add_sizes(
    made: go.Figure, row: int, name: str, values: Mapping[str, float | None], sign: dict, form: str = ""
) -> None:
    known = {m: v for m, v in values.items() if v}
    made.add_scatter(
        x=rounded(known.values()),
        y=[plain(m) for m in known],
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=row == 1 and bool(known),
        marker=sign | {"symbol": [marker(m) + form for m in known]},
        hovertemplate=f"%{{y}}, {name}: %{{x:.4s}}<extra></extra>",
        row=row,
        col=1,
    )


def _decades(made: go.Figure, axis: str) -> list[float]:
    """Return whole powers of ten around all values of an axis, at least one."""
    drawn = [v for trace in made.data if (trace.xaxis or "x") == axis for v in trace.x]
    low, high = np.floor(np.log10(min(drawn)) - 0.05), np.ceil(np.log10(max(drawn)) + 0.05)
    return [float(low), float(max(high, low + 1))]


def _add_loss(made: go.Figure, record: Record, shade: str, look: dict, points: int) -> None:
    steps = np.arange(1, len(record.loss) + 1)
    kept = np.unique(np.linspace(0, len(steps) - 1, min(points, len(steps))).astype(int))
    sums, half = np.cumsum(np.concatenate([[0.0], record.loss])), _SMOOTHED // 2
    first, last = np.maximum(steps - 1 - half, 0), np.minimum(steps + half, len(steps))
    smooth = (sums[last] - sums[first]) / (last - first)
    pale = {"mode": "lines", "line": {"color": translucent(shade, 0.25), "width": 1}, "hoverinfo": "skip"}
    made.add_scatter(
        x=steps[kept].tolist(), y=rounded(record.loss[kept]), showlegend=False, row=1, col=1, **pale, **look
    )
    hover = f"{look['name']}, step %{{x}}: %{{y:.3g}}<extra></extra>"
    line = {"mode": "lines", "line": {"color": shade, "width": 2}, "hovertemplate": hover}
    made.add_scatter(x=steps[kept].tolist(), y=rounded(smooth[kept]), row=1, col=1, **line, **look)
