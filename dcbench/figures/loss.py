"""Loss curves of all backends on one axis, and how far each is from one device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.figures._style import Figure, caption, finished, label, rank, rounded
from dcbench.figures._theme import DASHES, PALE, colour
from dcbench.record import Record

EARLY_STEPS = 20  # training has not yet amplified rounding much
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
    return finished(made, f"Loss at {global_batch} examples a step", caption(curves, repeats=False), 420)


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
        style |= {"width": 6, "color": PALE}
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
