"""One run: its training loss and its throughput, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.figures._style import Figure, caption, finished, headed, label, plain, rounded
from dcbench.figures._theme import QUIET, TEXT, colour
from dcbench.metrics import METRICS
from dcbench.record import Record, Series
from dcbench.store import tidy

MOST_STEPS = 900  # of one panel: with both, fewer marks than `MAX_MARKS`


def plot_run(record: Record) -> Figure:
    """
    Draw the training loss of one run over its steps, and below it the throughput of each step.

    Parameters
    ----------
    record : Record
        A completed run.

    Raises
    ------
    SpecError
        If the run was not completed.

    Notes
    -----
    The throughput of a step is the global batch over the time of the slowest process. Steps that stand out
    (`dcbench.stats.outliers`) are crossed and count all the same.
    """
    if not record.ok or not len(record.loss):
        raise SpecError(
            f"run {record.run_id!r} has no losses to draw ({record.status}: {record.reason}); choose a completed run"
        )
    if "throughput" not in record.metrics:
        raise SpecError(f"run {record.run_id!r} has no throughput to draw; choose another run")
    whole, unit = record.metrics["throughput"], METRICS["throughput"].unit
    made = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.16,
        subplot_titles=["Training loss", f"Throughput, higher is better: {whole:,.0f} {unit} over the whole run"],
    )  # fmt: skip
    shade = colour(record.spec["backend"])
    _add_loss(made, record, shade)
    _add_rates(made, record, shade)
    made.update_yaxes(rangemode="tozero")
    made.update_yaxes(title_text=unit, row=2, col=1)
    made.update_xaxes(title_text="Optimizer step", row=2, col=1)
    made.update_layout(showlegend=False)
    row, (backend, devices) = tidy([record]).iloc[0], (record.spec["backend"], record.spec["devices"])
    title = f"One run: {plain(row['model'])} on {plain(row['dataset'])}, {label(backend, devices)}"
    return finished(headed(made), title, caption([record], repeats=False, notes=_notes(record)), 430)


def _notes(record: Record) -> list[str]:
    found, steps = [], len(record.loss)
    if steps > MOST_STEPS:
        found.append(f"{MOST_STEPS} of {steps:,} steps are drawn, evenly spaced")
    if record.series("warmup_step_s"):
        found.append("open: warm-up, then undone · crossed: steps that stand out · dashed: the whole run")
    return found


def _drawn(count: int) -> np.ndarray:
    """Return which of the steps are drawn, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_STEPS)).round().astype(int))


def _add_loss(made: go.Figure, record: Record, shade: str) -> None:
    steps = _drawn(len(record.loss))
    line = {"color": shade, "width": 2}
    made.add_scatter(x=steps + 1, y=rounded(record.loss[steps]), line=line, mode="lines", name="loss", row=1, col=1)


def _add_rates(made: go.Figure, record: Record, shade: str) -> None:
    rates = step_rates(record.series("step_s"), record.spec["global_batch"])
    before = step_rates(record.series("warmup_step_s"), record.spec["global_batch"])
    steps, odd = _drawn(len(rates)), stats.outliers(rates)
    symbols = ["x-thin-open" if odd[k] else "circle" for k in steps]
    dots = {"color": shade, "size": 5, "opacity": 0.55, "line": {"width": 1.5, "color": shade}}
    timed = {"x": steps + 1, "y": rounded(rates[steps]), "marker": {**dots, "symbol": symbols}, "name": "timed steps"}
    warm = {"x": np.arange(len(before)) + 1 - len(before), "y": rounded(before), "name": "warm-up"}
    for points in (timed, warm | {"marker": {"color": QUIET, "size": 6, "symbol": "circle-open"}}):
        made.add_scatter(**points, mode="markers", hovertemplate="step %{x}: %{y:,.0f} examples/s", row=2, col=1)
    whole = record.metrics["throughput"]
    made.add_scatter(
        x=[1, len(rates)], y=[whole, whole], mode="lines", line={"color": TEXT, "width": 2, "dash": "dash"},
        name="whole run", hovertemplate="whole run: %{y:,.0f} examples/s", row=2, col=1,
    )  # fmt: skip


def step_rates(times: Sequence[Series], global_batch: int) -> np.ndarray:
    """
    Return the throughput of each step (examples/s): the global batch over the time of the slowest process.

    Parameters
    ----------
    times : sequence of Series
        Step times (s) of each process.
    global_batch : int
        Examples of all devices in one step.

    Returns
    -------
    numpy.ndarray
        Of the length that all processes reached.

    Examples
    --------
    >>> step_rates([Series(0, "h", "step_s", 0, [0.5, 0.5]), Series(1, "h", "step_s", 0, [1.0, 0.25, 9.0])], 100)
    array([100., 200.])
    """
    reached = min((len(s.values) for s in times), default=0)
    return global_batch / np.max([s.values[:reached] for s in times], axis=0) if reached else np.empty(0)
