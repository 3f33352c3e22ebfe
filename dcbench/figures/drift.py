"""How far training runs are apart, step by step: the weights of the ranks of one run, or the losses of several runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.figures._style import MAX_MARKS, Figure, caption, finished, plain, rounded
from dcbench.figures._theme import COLOURS, LINES, QUIET
from dcbench.record import Record

FLOOR = 1e-9  # where equal losses are drawn on a logarithmic axis
_SHADES = (QUIET, COLOURS["horovod"], COLOURS["mirrored"], COLOURS["independent"])


def rank_distance(weights: np.ndarray) -> np.ndarray:
    """
    Return how far the ranks' weights are apart at each step, relative to rank 0's.

    Parameters
    ----------
    weights : array, shape (ranks, steps, ...)

    Returns
    -------
    numpy.ndarray
        Shape (steps,): the largest over ranks of ‖w_rank − w_0‖ / ‖w_0‖; 0 means equal bit for bit.

    Examples
    --------
    >>> rank_distance(np.array([[[3.0, 4.0]], [[3.0, 5.0]]])).tolist()
    [0.2]
    """
    flat = np.asarray(weights, float).reshape(*np.shape(weights)[:2], -1)
    scale = np.linalg.norm(flat[0], axis=-1)
    return np.linalg.norm(flat - flat[0], axis=-1).max(axis=0) / np.where(scale > 0, scale, 1.0)


def plot_drift(weights: Mapping[str, np.ndarray]) -> Figure:
    """
    Draw how far the ranks' weights are apart after each step (percent of rank 0's weights).

    Parameters
    ----------
    weights : mapping of str to array, shape (ranks, steps, ...)
        By name of what trained them.

    Raises
    ------
    SpecError
        If there are none.
    """
    if not weights:
        raise SpecError("plot_drift needs the weights of each rank, and was given none; give an array for each way")
    apart = {name: 100 * rank_distance(values) for name, values in weights.items()}
    most = max(float(values.max()) for values in apart.values()) or 1.0
    made = _lines(apart, "%{y:.3g} %")
    ranks = max(np.shape(values)[0] for values in weights.values())
    made.update_yaxes(title_text="Distance of weights (%)", range=[-0.04 * most, 1.06 * most])
    under = "0 means equal bit for bit · the rank farthest from rank 0 counts"
    return finished(made, f"How far the weights of {ranks} ranks are apart", under, 280)


def plot_loss_distance(records: Mapping[str, Record], reference: Record) -> Figure:
    """
    Draw how far the losses of runs are from those of a reference, |L − L_ref| / |L_ref| at each step.

    Parameters
    ----------
    records : mapping of str to Record
        By the name to show; completed runs of the reference's work.
    reference : Record

    Raises
    ------
    SpecError
        If a run has no losses, or others have more or fewer steps.
    """
    for name, record in {**records, "the reference": reference}.items():
        if not len(record.loss) or len(record.loss) != len(reference.loss):
            raise SpecError(
                f"{name!r} has {len(record.loss)} losses and the reference {len(reference.loss)}; give completed runs "
                "of as many steps"
            )
    far = {n: np.maximum(stats.differences(r.loss, reference.loss), FLOOR) for n, r in records.items()}
    made = _lines(far, "%{y:.2g}")
    made.update_yaxes(title_text="Relative difference of loss", type="log", exponentformat="power", dtick=1)
    named = f"{plain(reference.spec['backend'])} × {reference.spec['devices']}"
    under = caption([*records.values(), reference], repeats=False, notes=[f"equal losses are drawn at {FLOOR:.0e}"])
    return finished(made, f"How far losses are from those of {named} with the whole batch", under, 280)


def _lines(curves: Mapping[str, np.ndarray], form: str) -> go.Figure:
    """Draw one line a curve over the optimizer steps."""
    made, points = go.Figure(), MAX_MARKS // max(1, len(curves))
    for k, (name, values) in enumerate(curves.items()):
        steps = np.unique(np.linspace(0, len(values) - 1, min(len(values), points)).round().astype(int))
        line = {"color": _SHADES[k % len(_SHADES)], "width": 2.5, "dash": LINES[k % len(LINES)]}
        shown = {"name": plain(name), "hovertemplate": f"step %{{x}}: {form}"}
        made.add_scatter(x=steps + 1, y=rounded(values[steps]), mode="lines", line=line, **shown)
    made.update_xaxes(title_text="Optimizer step", rangemode="tozero")
    return made
