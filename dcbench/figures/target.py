"""Time to a target accuracy by configuration, with those that never reached it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dcbench import stats
from dcbench.figures._configurations import MOST_ROWS
from dcbench.figures._style import Figure, bars, caption, finished, label, measured, plain, rank, stacked
from dcbench.figures._theme import colour, marker
from dcbench.store import Runs, tidy

_ROW_PX, _PANEL_PX = 36, 95


def plot_time_to_target(runs: Runs) -> Figure:
    """
    Draw how long training takes to reach its target accuracy: the median and its 95 % interval.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        Runs without a target do not count; see `stats.time_to_target`.

    Raises
    ------
    SpecError
        As from `stats.time_to_target`.
    """
    whole = tidy(runs)
    table = measured(whole)
    found = stats.time_to_target(table)
    sought = table[table["target_accuracy"].notna()]
    order = ["model", "dataset", "devices", "global_batch", "place"]
    found = found.assign(place=[rank(b) for b in found["backend"]]).sort_values(order, kind="stable")
    notes = [f"the first {MOST_ROWS} of {len(found)} configurations"] * (len(found) > MOST_ROWS)
    found = found.head(MOST_ROWS)
    models = list(found["model"].unique())
    made = stacked(models, [int((found["model"] == m).sum()) for m in models], _ROW_PX, _PANEL_PX)
    for place, model in enumerate(models, 1):
        _add_panel(made, place, found[found["model"] == model], sought)
    made.update_layout(showlegend=False)
    goals = " and ".join(f"{100 * g:g} %" for g in sorted(set(sought["target_accuracy"])))
    title = f"Time to {goals} test accuracy, median and 95 % interval"
    canaries = whole["canary"].isin([True]) if "canary" in whole else False  # they tell of a drift
    under = caption(whole[whole["target_accuracy"].notna() | canaries], notes=notes)
    return finished(made, title, under, _PANEL_PX * len(models) + _ROW_PX * len(found))


def _add_panel(made: go.Figure, place: int, found: pd.DataFrame, sought: pd.DataFrame) -> None:
    """Fill the panel of one model."""
    for row in found.itertuples():
        _add_row(made, place, _name(row, found), row, sought)
    longest = max((e.value for e in found["time_to_target"] if e is not None), default=1.0)
    title = "Training time to target (s), lower is better"
    made.update_xaxes(title_text=title, range=[0, 1.3 * longest], row=place, col=1)
    made.update_yaxes(type="category", range=[len(found) - 0.5, -0.8], row=place, col=1)


def _name(row: Any, found: pd.DataFrame) -> str:
    """Name a configuration: the global batch always, since it decides how many steps are needed."""
    parts = [label(row.backend, row.devices), f"{row.global_batch:g} a step"]
    parts += [plain(row.dataset)] * (found["dataset"].nunique() > 1)
    return ", ".join([*parts, *[plain(row.variant)] * bool(row.variant)])


def _add_row(made: go.Figure, place: int, name: str, row: Any, sought: pd.DataFrame) -> None:
    """Draw one median with its interval, or say that the target was not reached."""
    middle, part = row.time_to_target, f", reached by {row.reached} of {row.tried} runs" * (row.reached < row.tried)
    if middle is None:
        made.add_scatter(
            x=[0],
            y=[name],
            mode="text",
            text=[f" not reached in {_limit(row, sought)}, {row.tried} run{'s' * (row.tried > 1)}"],
            textposition="middle right",
            name=name,
            hoverinfo="skip",
            row=place,
            col=1,
        )
        return
    shade = colour(row.backend)
    made.add_scatter(
        x=[middle.value],
        y=[name],
        mode="markers+text",
        marker={"color": shade, "symbol": marker(row.model), "size": 10},
        error_x=bars([middle], shade),
        text=[f"{middle.value:.3g} s{part}"],
        textposition="top center",
        name=name,
        hovertemplate=f"{middle:.3g} s{part}",
        row=place,
        col=1,
    )


def _limit(row: Any, sought: pd.DataFrame) -> str:
    """Say how long a configuration was allowed to train."""
    same = [sought[n] == getattr(row, n) for n in ("model", "dataset", "backend", "devices", "global_batch")]
    rows = sought[pd.concat(same, axis=1).all(axis=1)]
    steps = rows["steps"].max()
    return f"{steps:g} steps" if pd.notna(steps) else f"{rows['epochs'].max():g} epochs"
