"""Loss curves of all backends on one axis, and how far each is from one device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench import spec, stats
from dcbench.errors import SpecError
from dcbench.figures._configurations import texts, what_differs
from dcbench.figures._style import MAX_MARKS, Figure, caption, finished, label, plain, rank, rounded
from dcbench.figures._theme import DASHES, LINES, PALE, colour
from dcbench.record import Record
from dcbench.store import tidy

EARLY_STEPS = 20  # training has not yet amplified rounding much
MOST_MODELS = 3
_FLOOR = 1e-8  # below what single precision resolves
# settings by which equal training may differ: how it runs, how long, and what is looked at besides
_FREE = {
    "backend", "devices", "batch_per_device", "device_type", "threads_per_device", "oversubscribe", "transport",
    "compression", "knobs", "start", "time_limit_s", "warmup_window", "warmup_max_steps", "warmup_tolerance",
    "step_timing", "allow_download", "steps", "epochs", "steps_per_execution", "jit_compile", "target_accuracy",
    "evaluate_every", "evaluate", "save_model", "tensorboard", "profile_steps", "hang_limit_s",
}  # fmt: skip
_WAY = ("transport", "compression", "threads_per_device")  # each has a curve of its own
_WORK = [name for name in spec.field_names() if name not in _FREE]


def loss_differences(records: Sequence[Record], reference: str = "single") -> pd.DataFrame:
    """
    Compare loss curves with that of one device at the same global batch.

    Parameters
    ----------
    records : sequence of Record
        The first completed run of each configuration counts; canaries do not.
    reference : str
        The backend to compare with.

    Returns
    -------
    DataFrame
        Columns ``model``, ``dataset``, ``backend``, ``devices``, ``global_batch``, ``early_difference`` (largest
        relative difference of the first ``EARLY_STEPS`` steps) and ``largest_difference`` (of all steps).
    """
    curves = _curves(records)
    table, rows = tidy(curves), []
    for record, named in zip(curves, table.to_dict("records"), strict=True):
        against = _reference(curves, record, reference)
        if against is not None:
            gap = stats.differences(record.loss, against.loss)
            shape = {n: named[n] for n in ("model", "dataset", "backend", "devices", "global_batch")}
            rows.append(shape | {"early_difference": gap[:EARLY_STEPS].max(), "largest_difference": gap.max()})
    return pd.DataFrame(rows)


def plot_loss(
    records: Sequence[Record], global_batch: int, reference: str = "single", model: str | None = None
) -> Figure:
    """
    Draw the loss curves of all backends at one global batch, and below them how far each is from one device.

    Parameters
    ----------
    records : sequence of Record
        The first completed run of each configuration is drawn; canaries are not.
    global_batch : int
        Examples per optimizer step.
    reference : str
        The backend to compare with.
    model : str, optional
        The model to draw; up to ``MOST_MODELS`` are drawn side by side unless given.

    Raises
    ------
    SpecError
        If there is no such run.

    Notes
    -----
    Of curves too long to draw, the least and the largest loss of each stretch of steps are kept.
    """
    curves = [r for r in _curves(records) if r.spec["global_batch"] == global_batch]
    if model is not None:
        curves = [r for r, name in zip(curves, tidy(curves)["model"], strict=True) if name == model]
    if not curves:
        which = f"global_batch={global_batch}" + f" and model={model!r}" * (model is not None)
        raise SpecError(f"no completed run has {which}; there is no loss to draw")
    names = tidy(curves)["model"]
    models = list(dict.fromkeys(names))[:MOST_MODELS]
    apart = any(_reference(curves, r, reference) for r, name in zip(curves, names, strict=True) if name in models)
    made = _panels(models, 2 if apart else 1)
    drawn = [r for r, name in zip(curves, names, strict=True) if name in models]
    looks = _looks(drawn, reference)
    points = max(2, int(0.9 * MAX_MARKS / (2 * len(drawn))))
    known: set[str] = set()
    lost = False
    for record, name, look in zip(drawn, names[names.isin(models)], looks, strict=True):
        against = _reference(curves, record, reference)
        lost |= _add_curves(made, models.index(name) + 1, record, against, look, points)
    for trace in made.data:  # each name once in the legend
        trace.showlegend = trace.showlegend is not False and trace.name not in known
        known.add(str(trace.name))
    _set_axes(made, len(models), apart)
    long = max(len(r.loss) for r in drawn) > points
    notes = [f"{len(models)} of {names.nunique()} models are drawn"] * (names.nunique() > len(models))
    if not apart and any(r.spec["backend"] != reference for r in drawn):
        notes.append(f"backend {reference!r} has no run of the same training, so no difference is drawn")
    notes += ["curves are drawn by the least and the largest loss of each stretch of steps"] * long
    notes += ["differences below 10⁻⁸, and those of exactly 0, are drawn at 10⁻⁸"] * lost
    title = f"Loss at {global_batch} examples a step" + f": {plain(models[0])}" * (len(models) == 1)
    return finished(made, title, caption(drawn, repeats=False, notes=notes), 420 if apart else 300)


def _panels(models: Sequence[str], rows: int) -> go.Figure:
    titles = [plain(m) for m in models] if len(models) > 1 else None
    made = make_subplots(
        rows=rows,
        cols=len(models),
        shared_xaxes=True,
        row_heights=[0.62, 0.38][:rows],
        vertical_spacing=0.14,
        subplot_titles=titles,
    )
    return made.for_each_annotation(lambda a: a.update(font={"size": 13, "weight": 600}))


def _add_curves(
    made: go.Figure, col: int, record: Record, against: Record | None, look: dict[str, Any], points: int
) -> bool:
    """Draw one loss curve and its distance from that of one device; return whether some of it is below the axis."""
    steps = _thinned(record.loss, points)
    made.add_scatter(x=(steps + 1).tolist(), y=rounded(record.loss[steps]), row=1, col=col, **look)
    if against is None:
        return False
    exact = stats.differences(record.loss, against.loss)
    gap = np.maximum(exact, _FLOOR)
    steps = _thinned(gap, points)
    made.add_scatter(x=(steps + 1).tolist(), y=rounded(gap[steps]), row=2, col=col, showlegend=False, **look)
    return bool((exact < _FLOOR).any())


def _thinned(values: np.ndarray, points: int) -> np.ndarray:
    """
    Return the places of the least and the largest value of each stretch, so that no peak is lost.

    Examples
    --------
    >>> _thinned(np.array([1.0, 5.0, 2.0, 0.0, 3.0, 3.0]), 4).tolist()
    [0, 1, 3, 4]
    """
    if len(values) <= points:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), points // 2 + 1).astype(int)
    known = np.where(np.isfinite(values), values, np.inf), np.where(np.isfinite(values), values, -np.inf)
    found = [
        low + pick(part[low:high])
        for low, high in pairwise(edges)
        for pick, part in zip((np.argmin, np.argmax), known, strict=True)
    ]
    return np.unique(found)


def _set_axes(made: go.Figure, models: int, apart: bool) -> None:
    made.update_yaxes(title_text="Training loss", row=1, col=1)
    made.update_yaxes(rangemode="tozero", row=1)
    if apart:
        made.update_yaxes(title_text="Relative<br>difference", row=2, col=1)
        made.update_yaxes(**_decades(made, models), row=2)
    made.update_xaxes(title_text="Optimizer step", row=2 if apart else 1)


def _decades(made: go.Figure, models: int) -> dict[str, Any]:
    """Return a logarithmic axis with at most some five labelled powers of ten for the lower panels, the same in all."""
    lower = {f"y{models + col}" for col in range(1, models + 1)}
    drawn = [v for trace in made.data if trace.yaxis in lower for v in trace.y if v]
    low, high = (float(f(np.log10(drawn))) for f in (np.min, np.max)) if drawn else (np.log10(_FLOOR), 0.0)
    step = max(1, int(np.ceil((high - low) / 5)))
    span = {"range": [low - 0.3, high + 0.3]} if drawn else {}
    return {"type": "log", "dtick": step, "tick0": int(np.log10(_FLOOR)), "exponentformat": "power", **span}


def _looks(drawn: Sequence[Record], reference: str) -> list[dict[str, Any]]:
    """
    Return the style of each loss curve: the reference broad and pale, so that others can lie on it and be seen.

    Curves of one backend that differ in more than their devices are named by it and have a dash each.
    """
    table = tidy(drawn)
    work = [name for name in _WORK if name != "model"]
    cells = table[["model", "backend"]].assign(**{n: texts(table[n]) for n in (*work, *_WAY)})
    of_work, of_way = what_differs(cells, work, "model"), what_differs(cells, _WAY, "backend")
    looks, known = [], {}
    for record, parts in zip(drawn, map(list.__add__, of_work, of_way), strict=True):
        backend, also = record.spec["backend"], ", ".join(parts)
        usual = DASHES.get(backend, "dash")
        dashes, kinds = [usual, *(d for d in LINES if d != usual)], known.setdefault(backend, [])
        kinds += [also] * (also not in kinds)
        style = {"color": colour(backend), "dash": dashes[kinds.index(also) % len(dashes)], "width": 2}
        if backend == reference:
            style |= {"width": 6, "color": PALE}
        name = ", ".join([label(backend, record.spec["devices"]), *parts])
        looks.append({"line": style, "name": name, "legendgroup": name, "mode": "lines"})
    return looks


def _curves(records: Sequence[Record]) -> list[Record]:
    """Return the first completed run with losses of each configuration, one device first."""
    first: dict[str, Record] = {}
    for record in records:
        if record.ok and len(record.loss) and not record.sweep.get("canary"):
            way = [record.spec.get(n) for n in ("backend", "devices", "global_batch", *_WAY)]
            first.setdefault(json.dumps([*way, *_work(record)], sort_keys=True), record)
    return sorted(first.values(), key=lambda r: (rank(r.spec["backend"]), r.spec["devices"]))


def _reference(curves: Sequence[Record], record: Record, backend: str) -> Record | None:
    """Return the run of `backend` that does the record's work; None where that is the record itself."""
    batch = record.spec["global_batch"]
    same = [
        r
        for r in curves
        if r.spec["backend"] == backend and r.spec["global_batch"] == batch and _work(r) == _work(record)
    ]
    return same[0] if same and same[0] is not record else None


def _work(record: Record) -> list[Any]:
    return [record.spec.get(name) for name in _WORK]
