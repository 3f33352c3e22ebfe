"""Lines over the number of devices: which share a panel, what they are called and how they look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dcbench.figures._style import bars, plain, rank, rounded
from dcbench.figures._theme import DASHES, LINES, QUIET, colour, marker
from dcbench.stats import Estimate

GROUP = ("model", "dataset", "batch")
LINE = (*GROUP, "backend", "variant")
MOST_TOGETHER, MOST_PANELS, _MOST_TICKS = 2, 4, 8
_LOG_FROM = 8  # times the least number of devices


def panels(found: pd.DataFrame, mode: str) -> tuple[list[tuple[str, pd.DataFrame]], list[str]]:
    """
    Share out the rows of `stats.scaling`: models beside each other at one batch, else a panel for each batch.

    Returns
    -------
    list of (str, DataFrame)
        A heading and what is drawn below it.
    list of str
        A note where not everything is drawn.
    """
    groups = list(found.groupby(list(GROUP), sort=False))
    if len(groups) <= MOST_TOGETHER and found[["dataset", "batch"]].drop_duplicates().shape[0] == 1:
        return [("", found)], []
    shown, note = groups, []
    if len(groups) > MOST_PANELS:
        ends = found.groupby(["model", "dataset"])["batch"].agg(["min", "max"])
        shown = [(key, rows) for key, rows in groups if key[2] in tuple(ends.loc[key[:2]])][:MOST_PANELS]
        note = [f"{len(shown)} of {len(groups)} models and batches are drawn; give fewer runs to see the others"]
    return [(group_name(key, mode), rows) for key, rows in shown], note


def group_name(key: Sequence[Any], mode: str) -> str:
    """Name a model, dataset and batch."""
    model, dataset, batch = key
    on = f" on {plain(dataset)}" if dataset else ""
    return f"{plain(model)}{on}, {batch:g} examples a {'device' if mode == 'weak' else 'step'}"


def lines(found: pd.DataFrame, base: str) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """
    Return each line's look and rows; one that is only the base itself is left out.

    Colour tells the backend, the marker the model, the dash the backend or, where one has several, its variant.
    """
    several = found.groupby("backend")["variant"].nunique().max() > 1
    found = found.assign(_rank=[rank(b) for b in found["backend"]]).sort_values(["_rank", "devices"], kind="stable")
    made = []
    for (model, _, _, backend, variant), rows in found.groupby(list(LINE), sort=False):
        if backend == base and rows["devices"].max() == 1:
            continue
        variants = list(found.loc[found["backend"] == backend, "variant"].unique())
        dash = LINES[variants.index(variant) % len(LINES)] if several else DASHES.get(backend, "solid")
        look = {
            "name": plain(f"{backend}, {variant}" if variant else backend),
            "legendgroup": f"{backend} {variant}",
            "line": {"color": colour(backend), "dash": dash, "width": 2},
            "marker": {"symbol": marker(model), "size": 9},
        }
        made.append((look, rows))
    return made


def add_estimates(made: go.Figure, x: Iterable[float], estimates: Sequence[Estimate], **look: Any) -> None:
    """Draw one line of estimates with their intervals."""
    made.add_scatter(
        x=rounded(x),
        y=rounded([e.value for e in estimates]),
        mode="lines+markers",
        error_y=bars(estimates, look["line"]["color"]),
        text=[f"{e:.3g}" for e in estimates],
        hovertemplate="%{text}",
        **look,
    )


def add_models(made: go.Figure, models: Sequence[str]) -> None:
    """Say in the legend which marker is which model, where several are drawn in one panel."""
    for model in models if len(models) > 1 else ():
        look = {"symbol": marker(model), "size": 9, "color": QUIET}
        made.add_scatter(
            x=[None], y=[None], mode="markers", marker=look, name=plain(model), legendgroup=f"model {model}"
        )


def apart(devices: pd.Series, place: int, of: int, counts: Sequence[int]) -> pd.Series:
    """Move points at the same count a little apart, so that their intervals can be told from each other."""
    step = place - (of - 1) / 2
    if is_wide(counts):
        return devices * 2 ** (0.05 * step)
    return devices + step * 0.03 * (max(counts) - min(counts) or 1)


def is_wide(counts: Sequence[int]) -> bool:
    """Whether the counts need a logarithmic axis."""
    return max(counts) >= _LOG_FROM * min(counts)


def device_axis(counts: Sequence[int]) -> dict[str, Any]:
    """Return the axis of the number of devices: logarithmic, with doublings as ticks, from a span of 8 times on."""
    ticks = list(counts)
    if len(ticks) > _MOST_TICKS:
        ticks = [n for n in ticks if np.log2(n).is_integer()] or ticks[:: -(-len(ticks) // _MOST_TICKS)]
    wide = {"type": "log", "minor": {"ticks": ""}} if is_wide(counts) else {}
    return {"title_text": "Devices", "tickvals": ticks, "ticktext": [str(n) for n in ticks], **wide}
