"""The loss over the parameters of a small problem, as the ground on which paths are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dcbench.descent import Problem
from dcbench.figures._style import rounded
from dcbench.figures._theme import QUIET

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
