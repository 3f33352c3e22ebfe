"""Step times by rank: how they spread in each configuration, and which rank holds the others up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dcbench.errors import SpecError
from dcbench.figures._configurations import configured, first_rows
from dcbench.figures._style import Figure, caption, finished, measured, rounded
from dcbench.figures._theme import colour, translucent
from dcbench.record import Record

MOST_RANKS, MOST_OUTLIERS = 8, 20  # of one configuration
_ROW_PX, _LOG_FROM = 24, 10


def plot_step_times(records: Sequence[Record]) -> Figure:
    """
    Draw how the timed steps of each rank spread, over all repeats; the slowest rank of a configuration is filled.

    Parameters
    ----------
    records : sequence of Record
        Completed runs of which count.

    Raises
    ------
    SpecError
        If no completed run has step times.

    Notes
    -----
    Boxes are quartiles; whiskers reach the last step within 1.5 times the quartiles' distance (Tukey 1977). Of the
    steps beyond, the farthest ``MOST_OUTLIERS`` of a rank are drawn.
    """
    timed = [r for r in records if r.ok and r.series("step_s")]
    table = measured(timed)
    if table.empty:
        raise SpecError("no completed run has step times; there is nothing to draw")
    by_run = {r.run_id: r for r in timed}
    shown, notes = first_rows(configured(table))
    made, rows, left = go.Figure(), [], 0
    for name, found in shown.groupby("configuration", sort=False):
        boxes = _boxes([by_run[run] for run in found["run_id"]])
        kept = _kept(boxes)
        left += len(boxes) - len(kept)
        rows += [_add_box(made, str(name), box, found["backend"].iloc[0], len(boxes)) for box in kept.itertuples()]
    notes += [f"{left} further ranks lie between those drawn"] * bool(left)
    _set_axes(made, rows)
    under = caption(timed, notes=[*notes, "filled: the slowest rank · whiskers: 1.5 × the distance of the quartiles"])
    return finished(made, "Step times by rank, all timed steps of all runs", under, 80 + _ROW_PX * len(rows))


def _boxes(records: Sequence[Record]) -> pd.DataFrame:
    """Return the quartiles, whiskers and outliers (ms) of each rank, over the runs of one configuration."""
    ranks = max(r.step_s.shape[0] for r in records)
    steps = [[r.step_s[rank] for r in records if rank < r.step_s.shape[0]] for rank in range(ranks)]
    return pd.DataFrame([{"rank": rank} | _box(1e3 * np.concatenate(own)) for rank, own in enumerate(steps)])


def _box(values: np.ndarray) -> dict[str, object]:
    kept = np.sort(values[np.isfinite(values)])
    q1, median, q3 = np.percentile(kept, [25, 50, 75])
    inside = kept[(kept >= q1 - 1.5 * (q3 - q1)) & (kept <= q3 + 1.5 * (q3 - q1))]
    beyond = kept[(kept < inside[0]) | (kept > inside[-1])]
    farthest = beyond[np.argsort(-abs(beyond - median))][:MOST_OUTLIERS]
    ends = {"low": inside[0], "high": inside[-1]}
    return {"q1": q1, "median": median, "q3": q3, **ends, "outliers": farthest, "count": len(kept)}


def _kept(boxes: pd.DataFrame) -> pd.DataFrame:
    """Return the boxes to draw: the fastest, the slowest and evenly spaced ones between them if there are many."""
    boxes = boxes.assign(slowest=boxes.index == boxes["median"].idxmax())
    if len(boxes) <= MOST_RANKS:
        return boxes
    places = np.linspace(0, len(boxes) - 1, MOST_RANKS).round().astype(int)
    return boxes.sort_values("median").iloc[places].sort_values("rank")


def _add_box(made: go.Figure, name: str, box: Any, backend: str, ranks: int) -> str:
    """Draw one rank, and return the name of its row."""
    row = f"{name} · rank {box.rank}" if ranks > 1 else name
    shade = colour(backend)
    filled = ranks > 1 and box.slowest
    ends = {"lowerfence": box.low, "q1": box.q1, "median": box.median, "q3": box.q3, "upperfence": box.high}
    made.add_box(
        **{end: rounded([value]) for end, value in ends.items()},
        y=[row],
        orientation="h",
        line={"color": shade, "width": 1.5},
        fillcolor=translucent(shade, 0.6 if filled else 0.1),
        width=0.6,
        name=row,
    )
    made.add_scatter(
        x=rounded(box.outliers),
        y=[row] * len(box.outliers),
        mode="markers",
        marker={"color": shade, "size": 4, "opacity": 0.7},
        name=row,
        hovertemplate="%{x:.3g} ms",
    )
    return row


def _set_axes(made: go.Figure, rows: Sequence[str]) -> None:
    """Set a time axis from 0, or a logarithmic one where single steps took far longer than the others."""
    boxes = list(made.select_traces("box"))
    beyond = [value for points in made.select_traces("scatter") for value in points.x]
    least = min(*(box.lowerfence[0] for box in boxes), *beyond, np.inf)
    most = max(*(box.upperfence[0] for box in boxes), *beyond, 0.0)
    span: dict[str, Any] = {"range": [0, 1.05 * most]}
    if most > _LOG_FROM * float(np.median([box.median[0] for box in boxes])):
        few = (1, 2, 5) if most < 300 * least else (1,)
        ticks = [k * 10.0**decade for decade in range(-6, 9) for k in few]
        span = {"type": "log", "range": np.log10([0.8 * least, 1.2 * most]).tolist(), "tickvals": ticks}
    made.update_xaxes(title_text="Step time (ms)", **span)
    made.update_yaxes(type="category", range=[len(rows) - 0.5, -0.5])
    made.update_layout(showlegend=False)
