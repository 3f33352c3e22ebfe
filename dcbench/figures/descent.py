"""Paths of gradient descent on the loss they go down, fits, schedules and loss curves: what a lesson draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench.descent import SCHEDULES, Descent, Problem, rates
from dcbench.errors import SpecError
from dcbench.figures._style import Figure, finished, plain, rounded
from dcbench.figures._surface import COMPUTED, add_surface, drawable, thinned
from dcbench.figures._theme import LINES, QUIET, SHADES, SYMBOLS

_PLACES = {name: k % 4 for k, name in enumerate(("gradient descent", "momentum", "RMSprop", "Adam", *SCHEDULES))}
_MOST_MARKED_STEPS = 120


def plot_descent(descents: Mapping[str, Descent], title: str = "") -> Figure:
    """
    Draw paths on the loss surface of their problem, and beside it the loss at each step.

    Parameters
    ----------
    descents : mapping of str to Descent
        Of one problem, by the name to show.
    title : str
        What the paths show; else that they go down the problem's loss.

    Raises
    ------
    SpecError
        If there are none, or they go down different problems.
    """
    if len({id(d.problem) for d in descents.values()}) != 1:
        raise SpecError("plot_descent needs descents of one problem; give at least one, all made with the same problem")
    problem = next(iter(descents.values())).problem
    made = make_subplots(cols=2, column_widths=[0.58, 0.42], horizontal_spacing=0.14)
    add_surface(made, problem)
    for place, (name, descent) in enumerate(descents.items()):
        look = _look(name, place)
        _add_path(made, descent, look)
        steps = np.arange(len(descent.losses))
        kept = thinned(len(steps), len(descents))
        shown = {**look, "mode": "lines", "showlegend": False, "hovertemplate": "step %{x}: loss %{y:.3g}"}
        made.add_scatter(x=steps[kept], y=drawable(descent.losses[kept]), row=1, col=2, **shown)
    made.update_xaxes(title_text="Step", rangemode="tozero", row=1, col=2)
    lowest, first = min(np.nanmin(d.losses) for d in descents.values()), max(d.losses[0] for d in descents.values())
    made.update_yaxes(title_text="Loss", **_loss_axis(lowest, first), row=1, col=2)
    most = max(len(d.rates) for d in descents.values())
    under = [f"{len(problem.x)} examples, {most} steps, learning rate {_rates(list(descents.values()))}; {COMPUTED}"]
    under += [f"{plain(n)} left all bounds at step {len(d.path) - 1}" for n, d in descents.items() if _is_cut(d)]
    lost = [plain(name) for name, d in descents.items() if d.ended_higher]
    under += [f"ended higher than it began: {', '.join(lost)}"] * bool(lost)
    title = plain(title) or f"Going down the loss of {problem.formula}"
    return finished(made, title, "<br>".join(under), 330)


def _rates(descents: Sequence[Descent]) -> str:
    """Say the learning rates of some paths, of a schedule its largest."""
    fixed = all(len(set(d.rates)) == 1 for d in descents)
    largest = sorted({float(d.rates.max()) for d in descents})
    return "up to " * (not fixed) + " and ".join(f"{rate:g}" for rate in largest)


def _is_cut(descent: Descent) -> bool:
    return len(descent.path) <= len(descent.rates)


def plot_fit(problem: Problem, fits: Mapping[str, Sequence[float]]) -> Figure:
    """
    Draw the examples, and what the model says with some parameters.

    Parameters
    ----------
    problem : Problem
    fits : mapping of str to sequence of float
        Parameters by the name to show.
    """
    made, x = go.Figure(), np.linspace(problem.x.min(), problem.x.max(), 201)
    sign = {"color": QUIET, "size": 7, "symbol": "circle-open"}
    made.add_scatter(x=rounded(problem.x), y=rounded(problem.y), mode="markers", marker=sign, name="examples")
    for place, (name, at) in enumerate(fits.items()):
        look = {**_look(name, place), "mode": "lines"}
        made.add_scatter(x=rounded(x), y=rounded(problem.predict(at, x)), **look)
    made.update_xaxes(title_text="x")
    made.update_yaxes(title_text="y")
    losses = ", ".join(f"{plain(name)} {problem.loss(at):.3g}" for name, at in fits.items())
    return finished(made, f"{problem.formula} and {len(problem.x)} examples", f"mean squared error: {losses}", 300)


def plot_schedules(learning_rate: float, steps: int, others: Mapping[str, Sequence[float]] | None = None) -> Figure:
    """
    Draw the learning rate of each schedule by step.

    Parameters
    ----------
    learning_rate : float
        The largest.
    steps : int
    others : mapping of str to sequence of float, optional
        Learning rates of the same schedules from elsewhere, by schedule, one a step; drawn as points.
    """
    made = go.Figure()
    for place, name in enumerate(SCHEDULES):
        look, line = _look(name, place), rates(name, learning_rate, steps)
        kept = thinned(steps, len(SCHEDULES))
        made.add_scatter(x=np.arange(steps)[kept], y=rounded(line[kept]), **{**look, "mode": "lines"})
        if others and name in others:
            few = np.unique(np.linspace(0, steps - 1, 13).astype(int))
            sign = {**look["marker"], "size": 8, "symbol": f"{look['marker']['symbol']}-open"}
            made.add_scatter(
                x=few,
                y=rounded(np.asarray(others[name], float)[few]),
                **{**look, "mode": "markers", "marker": sign, "name": f"{name}, Keras", "showlegend": False},
            )
    made.update_xaxes(title_text="Step")
    made.update_yaxes(title_text="Learning rate", rangemode="tozero")
    said = "lines: the formula" + ("; points: Keras" if others else "")
    return finished(made, f"Schedules of a learning rate of {learning_rate:g}", said, 300)


def plot_cross_entropy(predicted: Sequence[float], outputs: int = 2) -> Figure:
    """
    Draw the cross-entropy of one example over what the model predicts for the right class.

    Parameters
    ----------
    predicted : sequence of float
        Predictions to mark, above 0 and at most 1.
    outputs : int
        The cross-entropy is the mean over this many outputs.
    """
    if not all(0 < p <= 1 for p in predicted):
        raise SpecError(f"cross-entropy was asked at {list(predicted)}; give predictions above 0 and at most 1")
    p = np.linspace(0.01, 1, 200)
    made = go.Figure()
    made.add_scatter(x=rounded(p), y=rounded(-np.log(p) / outputs), name="loss", **_plain_line())
    marked = -np.log(np.asarray(predicted, float)) / outputs
    sign = {"size": 11, "color": SHADES[3], "symbol": SYMBOLS[3]}
    made.add_scatter(x=list(predicted), y=rounded(marked), mode="markers", marker=sign, name="marked")
    for x, y in zip(predicted, marked, strict=True):
        made.add_annotation(x=x, y=y, yshift=22, text=f"ŷ = {x:g}: {y:.3f}")  # above the curve, which falls
    made.update_xaxes(title_text="ŷ of the right class", range=[0, 1.02])
    made.update_yaxes(title_text="Cross-entropy", rangemode="tozero")
    made.update_layout(showlegend=False)
    under = (
        f"−ln ŷ ÷ {outputs}: the mean over {outputs} outputs of −y·ln ŷ, where y is 1 for the right class and 0 else"
    )
    return finished(made, "Cross-entropy: a confident error is costly", under, 280)


def plot_learning_rates(
    learning_rates: Sequence[float], curves: Mapping[str, Sequence[float]], steps: int, limit: float | None = None
) -> Figure:
    """
    Draw the loss that each update rule reaches over the learning rate.

    Parameters
    ----------
    learning_rates : sequence of float
    curves : mapping of str to sequence of float
        Loss after `steps` steps, one for each learning rate, by the rule's name.
    steps : int
    limit : float, optional
        The learning rate from which gradient descent must diverge; marked.
    """
    made = go.Figure()
    for place, (name, losses) in enumerate(curves.items()):
        look = {**_look(name, place), "mode": "lines"}
        made.add_scatter(x=rounded(learning_rates), y=drawable(np.asarray(losses, float)), **look)
    if limit is not None:
        made.add_vline(x=limit, line={"color": QUIET, "dash": "dot", "width": 1.5})
        at = {"x": float(np.log10(limit)), "y": 1, "yref": "paper", "xanchor": "left", "showarrow": False}
        made.add_annotation(text=f"  limit {limit:.2f}", **at)
    made.update_xaxes(title_text="Learning rate", type="log", dtick=1)
    smallest = [losses[int(np.argmin(learning_rates))] for losses in curves.values()]
    axis = _loss_axis(min(map(min, curves.values())), max(smallest))
    made.update_yaxes(title_text=f"Loss after {steps} steps", **axis)
    return finished(made, "Each rule has its own right learning rate", COMPUTED, 300)


def plot_optimizers(curves: Mapping[str, Sequence[float]], title: str, under: str = "") -> Figure:
    """
    Draw the training loss by epoch of several optimizers.

    Parameters
    ----------
    curves : mapping of str to sequence of float
        Mean loss of each epoch by the optimizer's name.
    title, under : str
        What was trained, and what a reader must know of it.

    Raises
    ------
    SpecError
        If there is no epoch to draw.
    """
    if not curves or not all(map(len, curves.values())):
        raise SpecError(f"plot_optimizers was given {len(curves)} curves without an epoch; train for at least 1")
    made = go.Figure()
    for place, (name, losses) in enumerate(curves.items()):
        made.add_scatter(x=np.arange(1, len(losses) + 1), y=rounded(losses), **_look(name, place))
    made.update_xaxes(title_text="Epoch", dtick=max(1, max(map(len, curves.values())) // 10))
    made.update_yaxes(title_text="Training loss", rangemode="tozero")
    return finished(made, plain(title), plain(under), 320)


def _look(name: str, place: int) -> dict[str, Any]:
    """Return the look of a line: an update rule and a schedule have their own everywhere, others by their place."""
    k = _PLACES.get(name, (place + 1) % len(SHADES))
    return {
        "mode": "lines+markers",
        "name": plain(name),
        "legendgroup": name,
        "line": {"color": SHADES[k], "dash": LINES[k], "width": 2},
        "marker": {"symbol": SYMBOLS[k], "size": 6, "color": SHADES[k]},
    }


def _plain_line() -> dict[str, Any]:
    return {"mode": "lines", "line": {"color": SHADES[1], "width": 2}, "hoverinfo": "skip"}


def _add_path(made: go.Figure, descent: Descent, look: dict[str, Any]) -> None:
    """Draw a path, and its first and last point larger."""
    x = descent.path[:, 0]
    y = descent.path[:, 1] if descent.path.shape[1] > 1 else descent.losses
    kept = thinned(len(x), 4)
    mode = "lines+markers" if len(kept) <= _MOST_MARKED_STEPS else "lines"
    first, second = (*descent.problem.parameters, "loss")[:2]
    hover = f"step %{{text}}: {first} = %{{x:.3f}}, {second} = %{{y:.3f}}"
    made.add_scatter(
        x=drawable(x[kept]), y=drawable(y[kept]), text=kept, hovertemplate=hover, row=1, col=1, **{**look, "mode": mode}
    )
    ends = {**look, "mode": "markers", "showlegend": False, "hoverinfo": "skip"}
    for at, size, opened in ((0, 13, "-open"), (-1, 13, "")):
        sign = {**look["marker"], "size": size, "symbol": look["marker"]["symbol"] + opened, "line": {"width": 2}}
        made.add_scatter(x=drawable(x[[at]]), y=drawable(y[[at]]), row=1, col=1, **{**ends, "marker": sign})


def _loss_axis(lowest: float, first: float) -> dict[str, Any]:
    """Return a logarithmic axis on which a loss that runs away does not squeeze the others."""
    low, high = max(0.8 * lowest, 1e-9 * first), 3 * first
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    digits = (1, 2, 5) if high < 1e3 * low else (1,)
    ticks = [float(f"{digit}e{int(decade)}") for decade in decades for digit in digits]
    return {"type": "log", "range": [float(v) for v in np.log10([low, high])], "tickvals": ticks, "tickformat": "~g"}
