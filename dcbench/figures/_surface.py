"""The loss over the parameters of a small problem as the ground on which paths are drawn, and the points of a path."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dcbench.descent import Problem
from dcbench.figures._style import MAX_MARKS, rounded
from dcbench.figures._theme import QUIET

COMPUTED = "computed by formula, with no run behind it"
_LEVELS = [[0, "#FFFFFF"], [1, "#E4E7EB"]]  # of the loss, low to high
_GRID = 61  # points of a surface along each axis


def add_surface(made: go.Figure, problem: Problem) -> None:
    """Draw the loss over one parameter as a curve, over two as lines of equal loss."""
    axes = [np.linspace(low, high, _GRID if len(problem.window) > 1 else 401) for low, high in problem.window]
    losses = problem.loss(np.stack(np.meshgrid(*axes), axis=-1))
    made.update_xaxes(title_text=problem.parameters[0], range=problem.window[0], row=1, col=1)
    if len(axes) == 1:
        made.add_scatter(x=rounded(axes[0]), y=rounded(losses), name="loss surface", **_surface_line(), row=1, col=1)
        made.update_yaxes(title_text="Loss", rangemode="tozero", row=1, col=1)
        return
    made.add_contour(
        x=rounded(axes[0]),
        y=rounded(axes[1]),
        z=[[float(f"{v:.4g}") for v in row] for row in np.sqrt(losses)],  # roots space the lines of a bowl evenly
        colorscale=_LEVELS,
        ncontours=18,
        line={"color": "#B8C0C8", "width": 1},
        showscale=False,
        hoverinfo="skip",
        row=1,
        col=1,
    )
    made.update_yaxes(title_text=problem.parameters[1], range=problem.window[1], row=1, col=1)


def _surface_line() -> dict[str, Any]:
    return {"mode": "lines", "line": {"color": QUIET, "width": 2}, "hoverinfo": "skip", "showlegend": False}


def thinned(points: int, lines: int) -> np.ndarray:
    """
    Return which points of a line to draw where `lines` such share a figure: all, or every k-th and the last.

    Examples
    --------
    >>> thinned(5, 1).tolist(), thinned(1001, 10)[[0, 1, -1]].tolist()
    ([0, 1, 2, 3, 4], [0, 11, 1000])
    """
    step = -(-points // (MAX_MARKS // (2 * lines)))
    return np.unique(np.r_[np.arange(0, points, step), points - 1])


def drawable(values: np.ndarray) -> list[float | None]:
    """Return values that a browser can place; a path that diverged runs out of sight."""
    return rounded(np.clip(values, -1e9, 1e9))
