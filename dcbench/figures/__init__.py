"""Figures: records or their table in, a Plotly figure out; no state, no display.

One colour per backend everywhere, units on every axis, uncertainty where there is any, and the machine under
every title.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.figures._style import (
    COLOURS,
    CONFIG,
    DASHES,
    Figure,
    caption,
    colour,
    finished,
    label,
    rank,
    rounded,
)
from dcbench.metrics import METRICS
from dcbench.record import Record
from dcbench.stats import Estimate
from dcbench.store import Runs, tidy

__all__ = [
    "COLOURS", "CONFIG", "EARLY_STEPS", "Figure", "caption", "colour", "loss_differences", "plot_loss", "plot_scaling",
    "plot_throughput", "scaling_summary", "tidy",
]  # fmt: skip

EARLY_STEPS = 20  # training has not yet amplified rounding much
_ABOVE = " above 100\u00a0%: is the base right?"
_FLOOR = 1e-8  # below what single precision resolves


def loss_differences(records: Sequence[Record], reference: str = "single") -> pd.DataFrame:
    """
    Compare loss curves with that of one device at the same global batch.

    Parameters
    ----------
    records : sequence of Record
        The first completed run of each configuration counts.
    reference : str
        The backend to compare with.

    Returns
    -------
    DataFrame
        Columns ``backend``, ``devices``, ``global_batch``, ``early_difference`` (largest relative difference of the
        first ``EARLY_STEPS`` steps) and ``largest_difference`` (of all steps).
    """
    curves, rows = _curves(records), []
    for record in curves:
        against = _reference(curves, record, reference)
        if against is not None:
            gap = stats.differences(record.loss, against.loss)
            shape = {n: record.spec[n] for n in ("backend", "devices", "global_batch")}
            rows.append(shape | {"early_difference": gap[:EARLY_STEPS].max(), "largest_difference": gap.max()})
    return pd.DataFrame(rows)


def plot_loss(records: Sequence[Record], global_batch: int, reference: str = "single") -> Figure:
    """
    Draw the loss curves of all backends at one global batch, and below them how far each is from one device.

    Parameters
    ----------
    records : sequence of Record
        The first completed run of each configuration is drawn.
    global_batch : int
        Examples per optimizer step.
    reference : str
        The backend to compare with.
    """
    curves = [r for r in _curves(records) if r.spec["global_batch"] == global_batch]
    if not curves:
        raise SpecError(f"no completed run has global_batch={global_batch}; there is no loss to draw")
    made = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.14)
    for record in curves:
        steps = np.arange(1, len(record.loss) + 1)
        made.add_scatter(x=steps, y=rounded(record.loss), row=1, col=1, **_line(record, reference))
        against = _reference(curves, record, reference)
        if against is not None:
            gap = np.maximum(stats.differences(record.loss, against.loss), _FLOOR)
            made.add_scatter(x=steps, y=rounded(gap), row=2, col=1, showlegend=False, **_line(record, reference))
    made.update_yaxes(title_text="Training loss", rangemode="tozero", row=1, col=1)
    made.update_yaxes(title_text="Relative<br>difference", **_decades(made), row=2, col=1)
    made.update_xaxes(title_text="Optimizer step", row=2, col=1)
    return finished(made, f"Loss at {global_batch} examples a step", caption(curves, repeats=False), 500)


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
    ideal = {"mode": "lines", "line": {"color": "#9AA5B1", "dash": "dash", "width": 1.5}, "name": "ideal"}
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
    return finished(made, "Weak scaling: the same batch on every device", caption(runs), height=400)


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
        error_x=_bars([middle], shade),
        text=[f"{middle.value:,.0f}"],
        textposition="top center",
        name=name,
        hovertemplate=f"median {middle:,.0f} examples/s",
    )


def _add_estimates(made: go.Figure, x: pd.Series, estimates: Sequence[Estimate], **line: Any) -> None:
    made.add_scatter(
        x=rounded(x),
        y=rounded([e.value for e in estimates]),
        mode="lines+markers",
        marker={"size": 8},
        error_y=_bars(estimates, line["line"]["color"]),
        text=[f"{e:.3g}" for e in estimates],
        hovertemplate="%{text}",
        **line,
    )


def _bars(estimates: Sequence[Estimate], shade: str) -> dict[str, Any]:
    above = [e.high - e.value if e.has_interval else 0.0 for e in estimates]
    below = [e.value - e.low if e.has_interval else 0.0 for e in estimates]
    return {"array": above, "arrayminus": below, "color": shade, "thickness": 2, "width": 5}


def _decades(made: go.Figure) -> dict[str, Any]:
    """Return a logarithmic axis with at most some five labelled powers of ten for the lower panel."""
    drawn = [v for trace in made.data if trace.yaxis == "y2" for v in trace.y if v]
    low, high = (float(f(np.log10(drawn))) for f in (np.min, np.max)) if drawn else (np.log10(_FLOOR), 0.0)
    step = max(1, int(np.ceil((high - low) / 5)))
    return {"type": "log", "dtick": step, "tick0": int(np.log10(_FLOOR)), "exponentformat": "power"}


def _line(record: Record, reference: str) -> dict[str, Any]:
    """Return a loss curve's style: the reference broad and pale, so that others can lie on it and be seen."""
    backend = record.spec["backend"]
    style = {"color": colour(backend), "dash": DASHES.get(backend, "dash"), "width": 2}
    if backend == reference:
        style |= {"width": 6, "color": "#BDBDBD"}
    return {"line": style, "name": label(backend, record.spec["devices"]), "legendgroup": backend}


def _curves(records: Sequence[Record]) -> list[Record]:
    """Return the first completed run with losses of each configuration, one device first."""
    first: dict[str, Record] = {}
    for record in records:
        if record.ok and len(record.loss):
            first.setdefault(record.spec_hash, record)
    return sorted(first.values(), key=lambda r: (rank(r.spec["backend"]), r.spec["devices"]))


def _reference(curves: Sequence[Record], record: Record, backend: str) -> Record | None:
    """Return the run of `backend` with the record's global batch; None where that is the record itself."""
    batch = record.spec["global_batch"]
    same = [r for r in curves if r.spec["backend"] == backend and r.spec["global_batch"] == batch]
    return same[0] if same and same[0] is not record else None
