"""What changes to training do to a score: every repeat, the mean and its interval, against no change."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dcbench.effects import Effect
from dcbench.errors import SpecError
from dcbench.figures._style import Figure, bars, finished, plain, rounded
from dcbench.figures._theme import COLOURS, QUIET, TEXT

_SHADES = {"better": COLOURS["independent"], "worse": COLOURS["horovod"]}
_ROW_PX, _PANEL_PX = 44, 70


def plot_effects(effects: Sequence[Effect], baseline: str = "plain") -> Figure:
    """
    Draw what each change does to the test accuracy, in percentage points.

    Parameters
    ----------
    effects : sequence of Effect
        As from `dcbench.effects.effects`, of accuracies from 0 to 1.
    baseline : str
        The name of training without a change.

    Raises
    ------
    SpecError
        If there are none.
    """
    if not effects:
        raise SpecError("no effects were given; give those of dcbench.effects.effects")
    made = go.Figure()
    for effect in effects:
        _add_effect(made, effect)
    made.add_vline(x=0, line={"color": QUIET, "dash": "dash", "width": 1.5})
    title = f"Change of test accuracy against {plain(baseline)} (percentage points), more is better"
    made.update_xaxes(title_text=title)
    made.update_yaxes(type="category", range=[len(effects) - 0.5, -0.6])
    made.update_layout(showlegend=False)
    repeats = effects[0].estimate.count
    under = f"{repeats} repeat{'s' * (repeats > 1)} with other examples and weights each, compared pairwise<br>"
    under += "open: each repeat; filled: mean" + " and its 95 % interval" * (repeats > 1)
    return finished(
        made, f"What each measure does, against {plain(baseline)} training", under, _PANEL_PX + _ROW_PX * len(effects)
    )


def _add_effect(made: go.Figure, effect: Effect) -> None:
    name = f"{plain(effect.name)}<br><i>{effect.verdict}</i>"
    shade = _SHADES.get(effect.verdict, TEXT)
    points = effect.estimate.scaled(100)
    made.add_scatter(
        x=rounded(100 * d for d in effect.differences),
        y=[name] * len(effect.differences),
        mode="markers",
        marker={"color": shade, "symbol": "circle-open", "size": 8, "opacity": 0.8},
        name=plain(effect.name),
        hovertemplate="%{x:+.1f} points<extra></extra>",
    )
    made.add_scatter(
        x=rounded([points.value]),
        y=[name],
        mode="markers+text",
        marker={"color": shade, "symbol": "diamond", "size": 10},
        error_x=bars([points], shade),
        text=[f"{points.value:+.1f}"],
        textposition="top center",
        name=plain(effect.name),
        hovertemplate=f"mean {points:+.1f} points<extra></extra>",
    )
