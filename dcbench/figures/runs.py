"""Single runs as points: any metric or number of a specification against any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench import spec
from dcbench.errors import SpecError
from dcbench.figures._style import MAX_MARKS, Figure, caption, finished, plain, rank
from dcbench.figures._theme import TEXT, colour, marker
from dcbench.metrics import METRICS
from dcbench.registry import nearest
from dcbench.store import Runs, by_time, tidy

_UNITS = {"B": ("GiB", 2**-30), "1": ("", 1.0)}  # of a metric: the unit of its axis, and its own in that unit
_BATCH = "examples a step"
_FIELD_UNITS = {"global_batch": _BATCH, "batch_per_device": _BATCH, "threads_per_device": "cores"}
_UNKNOWN = "unknown"  # in place of a backend or a model that a table does not name
_TICKS, _SPREAD = 8, 16  # values that an axis names one by one, and the largest over the least of a linear one
_SHARE, _WIDTH = 0.5, 0.06  # of the least gap between values, and of their span: where runs of one value are drawn
_CROWD = 300  # runs from which on marks are small
_PANEL_PX, _STRIP_PX = 400, 50


@dataclass(frozen=True)
class Axis:
    """What an axis shows: a column of the table, its label, its unit and what to multiply the column by."""

    column: str
    label: str
    unit: str
    factor: float = 1.0

    @property
    def title(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def values(self, table: pd.DataFrame) -> pd.Series:
        """Return the values in the axis's unit; NaN where a run has none."""
        column = table.get(self.column, pd.Series(np.nan, table.index))
        numbers = pd.to_numeric(column, errors="coerce").astype(float)
        return numbers.where(np.isfinite(numbers)) * self.factor


def axes() -> dict[str, Axis]:
    """
    Return what `plot_runs` can draw, by name: the numbers of a specification, and every metric.

    Examples
    --------
    >>> found = axes()
    >>> found["step_s"].title, found["global_batch"].title, "model" in found
    ('Median step time (s)', 'Global batch (examples a step)', False)
    """
    numbers = [f.name for f in spec.fields() if str(f.type).split(" |")[0] in ("int", "float")]
    found = {n: _of_field(n) for n in ("global_batch", "devices", *numbers)}
    for name, metric in METRICS.items():
        unit, factor = _UNITS.get(metric.unit, (metric.unit, 1.0))
        found[name] = Axis(name, metric.label, unit, factor)
    return found


def plot_runs(
    runs: Runs,
    x: str = "global_batch",
    y: str = "throughput",
    log_x: bool = False,
    log_y: bool = False,
    ringed: str | None = None,
) -> Figure:
    """
    Draw each run as a mark: one colour per backend, one marker per model.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `dcbench.load_records`. At most ``MAX_MARKS`` are drawn, the newest. Runs that were not completed are
        in a strip of their own below, at their `x`.
    x, y : str
        Names in `axes`.
    log_x, log_y : bool
        Whether an axis is logarithmic; a run at or below 0 is then left out.
    ringed : str, optional
        Id of a run to draw a ring around.

    Returns
    -------
    Figure
        The ``customdata`` of a mark is the id of its run. The ring is the last trace.

    Raises
    ------
    SpecError
        For an unknown name, or where no run has both numbers.
    """
    across, up = _known(x), _known(y)
    table = tidy(runs).reset_index(drop=True)
    points, notes = _points(table, across, up, log_x, log_y)
    ticks = _ticks(points, across, log_x)
    if ticks and points["backend"].nunique() > 1:
        points["at"] = _beside(points, log_x)
        notes.append("runs of several backends at the same place are drawn beside each other")
    strip = bool(points["apart"].any())
    made = make_subplots(
        rows=1 + strip, cols=1, shared_xaxes=True, vertical_spacing=0.03, row_heights=[0.92, 0.08] if strip else None
    )
    _add_points(made, points)
    _add_ring(made, points[points["run_id"] == ringed])
    _set_axes(made, points, across, up)
    _set_scales(made, ticks, log_x, log_y)
    title = f"{up.label} by {across.label[0].lower()}{across.label[1:]}"
    under = caption(table.loc[points.index], repeats=False, notes=notes)
    return finished(made, title, under, _PANEL_PX + strip * _STRIP_PX)


def _of_field(name: str) -> Axis:
    label = name.removesuffix("_s").replace("_", " ").capitalize()
    return Axis(name, label, "s" if name.endswith("_s") else _FIELD_UNITS.get(name, ""))


def _known(name: str) -> Axis:
    known = axes()
    if name not in known:
        raise SpecError(f"runs have no number {name!r}{nearest(name, list(known))} (known: {', '.join(known)})")
    return known[name]


def _points(
    table: pd.DataFrame, across: Axis, up: Axis, log_x: bool, log_y: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Return the runs to draw (their row, `x`, `y`, and whether they are `apart`), and what is said of the others."""
    kinds = table[["backend", "model"]]
    points = kinds.where(kinds.notna(), _UNKNOWN).assign(
        run_id=table["run_id"], x=across.values(table), y=up.values(table)
    )
    points["apart"] = points["y"].isna() & (table["status"] != "ok")
    whole = points["x"].notna() & (points["y"].notna() | points["apart"])
    above = whole & ((points["x"] > 0) | (not log_x)) & ((points["y"] > 0) | points["apart"] | (not log_y))
    points["at"] = points["x"]
    without, low = int((~whole).sum()), int((whole & ~above).sum())
    notes = [f"not drawn, without both numbers: {without:,}"] * bool(without)
    notes += [f"not drawn, at or below 0 on a logarithmic axis: {low:,}"] * bool(low)
    if not (above & ~points["apart"]).any():
        apart = int((above & points["apart"]).sum())
        why = "; ".join([*[f"{apart:,} were not completed"] * bool(apart), *notes]) or "there are none"
        raise SpecError(f"no run has both {across.column} and {up.column} to draw: {why}; choose others")
    kept = by_time(table[above]).index[-MAX_MARKS:]
    if len(kept) < above.sum():
        notes = [f"the newest {len(kept):,} of {int(above.sum()):,} runs", *notes]
    return points.loc[kept], notes


def _add_points(made: go.Figure, points: pd.DataFrame) -> None:
    """Draw the runs of each backend and model, those that were not completed in the strip."""
    several = points["model"].nunique() > 1
    size = 8 if len(points) < _CROWD else 6
    kinds = sorted(points.groupby(["backend", "model"], dropna=False), key=lambda kind: (rank(kind[0][0]), kind[0][1]))
    for (backend, model), own in kinds:
        name = plain(f"{backend}, {model}" if several else backend)
        for apart, rows in own.groupby("apart"):
            made.add_scatter(
                x=rows["at"].to_numpy(),
                y=np.zeros(len(rows)) if apart else rows["y"].to_numpy(),
                mode="markers",
                marker={"color": colour(backend), "symbol": marker(model) + "-open" * bool(apart), "size": size},
                opacity=0.75,
                name=name,
                legendgroup=name,
                showlegend=not apart or bool(own["apart"].all()),
                customdata=np.array([plain(run) for run in rows["run_id"]]),  # of arrays Plotly makes short work
                text=np.array([f"{value:,.5g}" for value in rows["x"]]),
                hovertemplate="%{customdata}<br>%{text}" + ("" if apart else ", %{y:,.5~r}"),
                row=2 if apart else 1,
                col=1,
            )


def _add_ring(made: go.Figure, found: pd.DataFrame) -> None:
    """Draw a ring around one run, or none: the trace is there in any case, so that figures differ little."""
    apart = bool(found["apart"].any())
    made.add_scatter(
        x=found["at"].to_numpy(),
        y=np.zeros(len(found)) if apart else found["y"].to_numpy(),
        mode="markers",
        marker={"color": TEXT, "symbol": "circle-open", "size": 18, "line": {"width": 2.5}},
        name="chosen",
        showlegend=False,
        hoverinfo="skip",
        row=2 if apart else 1,
        col=1,
    )


def _set_axes(made: go.Figure, points: pd.DataFrame, across: Axis, up: Axis) -> None:
    """Give the axes titles with units, and the strip its name."""
    strip = bool(points["apart"].any())
    better = METRICS[up.column].better if up.column in METRICS else "none"
    made.update_yaxes(title_text=up.title + f", {better} is better" * (better != "none"), row=1, col=1)
    made.update_xaxes(title_text=across.title, row=1 + strip, col=1)
    if strip:
        made.update_yaxes(tickvals=[0], ticktext=["not completed"], range=[-1, 1], showgrid=False, row=2, col=1)


def _set_scales(made: go.Figure, ticks: Sequence[float], log_x: bool, log_y: bool) -> None:
    if log_x:
        made.update_xaxes(type="log", nticks=6)
    if log_y:
        made.update_yaxes(type="log", nticks=6, row=1, col=1)
    else:
        made.update_yaxes(rangemode="tozero", row=1, col=1)
    if ticks:
        made.update_xaxes(tickmode="array", tickvals=list(ticks))


def _ticks(points: pd.DataFrame, across: Axis, log_x: bool) -> list[float]:
    """Return the values of a field where they are few enough to have a tick each."""
    values = sorted(set(points["x"]))
    few = len(values) <= _TICKS and (log_x or values[-1] <= _SPREAD * values[0])
    return values if few and across.column not in METRICS else []


def _beside(points: pd.DataFrame, log_x: bool) -> pd.Series:
    """Return where the runs of a value are drawn, so that no backend lies on another."""
    places = np.log10(points["x"]) if log_x else points["x"]
    values = np.unique(places)
    span = float(np.ptp(values)) or 1.0
    width = min(_SHARE * float(np.diff(values).min(initial=span)), _WIDTH * span)
    order = {b: k for k, b in enumerate(sorted(points["backend"].unique(), key=rank))}
    shifted = places + width * (points["backend"].map(order) / (len(order) - 1) - 0.5)
    return 10.0**shifted if log_x else shifted
