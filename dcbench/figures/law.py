"""A scaling law fitted to measured speed-ups, and what it says beyond them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.figures._lines import LINE, add_estimates, device_axis, is_wide, lines
from dcbench.figures._style import Figure, caption, finished, measured, plain, rounded
from dcbench.figures._theme import QUIET, translucent
from dcbench.stats import LawFit
from dcbench.store import Runs

MOST_FITS = 4
_NAMES = {"amdahl": "Amdahl's law", "gustafson": "Gustafson's law", "usl": "the Universal Scalability Law"}
_SIGNS = {"serial_fraction": "serial fraction", "contention": "contention σ", "coherency": "coherency κ"}
_POINTS = 40  # of a curve


def plot_scaling_law(
    runs: Runs,
    law: str = "amdahl",
    base: str = "single",
    ceiling: str = "independent",
    mode: str = "weak",
    up_to: int | None = None,
) -> Figure:
    """
    Draw measured speed-ups, the law fitted to them with its 95 % band, and what it extrapolates to.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `dcbench.load_records`; each model, batch and backend with several numbers of devices has its own fit,
        and the others are named in the caption.
    law : {"amdahl", "gustafson", "usl"}
        As for `stats.fit_scaling_law`.
    base, ceiling, mode : str
        As for `stats.scaling`; the ceiling itself is not fitted.
    up_to : int, optional
        The largest number of devices to draw; four times the largest measured unless given.

    Raises
    ------
    SpecError
        As from `stats.scaling`, as from `stats.fit_scaling_law` where no line can be fitted, and for an `up_to` below
        what was measured.
    """
    table = measured(runs)
    found = stats.scaling(table, base, ceiling, mode)
    most = int(found["devices"].max())
    up_to = 4 * most if up_to is None else up_to
    if up_to < most:
        raise SpecError(f"up_to={up_to} is below the {most} devices that were measured; give at least {most}")
    rounds = stats.speedups(table, base, ceiling, mode)
    able = lines(found[found["backend"] != ceiling], base)
    if not able:
        raise SpecError(f"no backend but {base!r} and {ceiling!r} was measured; add runs on 2 devices to fit a law")
    flags: dict[str, list[str]] = {}
    drawn, left = _fitted(able, rounds, law, found)
    made, notes, curves = _with_ideal(up_to), [], 0
    for look, rows, fit in drawn[:MOST_FITS]:
        described = not any(map(_is_slower, fit.flags))
        curves += described
        if described:
            _add_fit(made, fit, up_to, look)
        add_estimates(made, rows["devices"], list(rows["speedup"]), **look | {"line": {**look["line"], "width": 0}})
        values = [f"{_SIGNS.get(name, name)} {e:.2g}" for name, e in fit.parameters.items()]
        notes.append(f"{look['name']}: {'; '.join([*values, f'misfit {100 * fit.residual:.1f} %'])}")
        for flag in fit.flags:
            flags.setdefault(flag, []).append(look["name"])
    notes += [f"{'no curve: ' * _is_slower(flag)}{flag} ({', '.join(names)})" for flag, names in flags.items()]
    notes += [f"the first {MOST_FITS} of {len(drawn)} fits are drawn"] * (len(drawn) > MOST_FITS)
    notes += [f"not drawn, as too few numbers of devices were measured: {', '.join(left)}"] * bool(left)
    if curves and up_to > most:
        line, sign = {"color": QUIET, "dash": "dot", "width": 2}, {"color": QUIET, "symbol": "circle-open", "size": 9}
        made.add_scatter(x=[None], y=[None], mode="lines+markers", line=line, marker=sign, name="extrapolated")
    _set_axes(made, up_to, base, found)
    formula = f"{stats.LAWS[law].formula} · {stats.LAWS[law].source}"
    return finished(made, f"Speed-up by {_NAMES[law]}", caption(runs, notes=[formula, *notes]), 380)


def _is_slower(flag: str) -> bool:
    """Say whether the points fall below all that the law can say: it then does not describe them."""
    return "slower than the law can say" in flag


def _name(name: str, rows: pd.DataFrame, found: pd.DataFrame) -> str:
    """Name a line by what sets it apart from the others."""
    first = rows.iloc[0]
    parts = [plain(first[n]) for n in ("model", "dataset") if found[n].nunique() > 1]
    return ", ".join([name, *parts, *[f"batch {first['batch']:g}"] * (found["batch"].nunique() > 1)])


def _fitted(
    able: list[tuple[dict[str, Any], pd.DataFrame]], rounds: pd.DataFrame, law: str, found: pd.DataFrame
) -> tuple[list[tuple[dict[str, Any], pd.DataFrame, LawFit]], list[str]]:
    """Return each line that can be fitted with its fit, and the names of the others; if none can, say why."""
    drawn, left, why = [], [], SpecError()
    for look, rows in able:
        look["name"] = look["legendgroup"] = _name(look["name"], rows, found)
        try:
            drawn.append((look, rows, _fit(rounds, rows, law)))
        except SpecError as error:
            left.append(look["name"])
            why = error
    if not drawn:
        raise why
    return drawn, left


def _fit(rounds: pd.DataFrame, rows: pd.DataFrame, law: str) -> LawFit:
    """Fit the law to the rounds of one line."""
    own = rounds[(rounds[list(LINE)] == rows.iloc[0][list(LINE)]).all(axis=1) & np.isfinite(rounds["speedup"])]
    of_round = list(zip(own["sweep"], own["round"], strict=True))
    return stats.fit_scaling_law(own["devices"], own["speedup"], of_round, law)


def _with_ideal(up_to: int) -> go.Figure:
    made = go.Figure()
    ends = [1, up_to]
    made.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": QUIET, "dash": "dash", "width": 1.5},
        name="ideal",
        hoverinfo="skip",
    )
    return made


def _add_fit(made: go.Figure, fit: LawFit, up_to: int, look: dict[str, Any]) -> None:
    """Draw a fit: its band, the curve through what was measured, and beyond it, dashed with open markers."""
    n = np.unique(np.r_[np.geomspace(1, up_to, _POINTS), fit.largest_measured])
    found = [fit.predict(at) for at in n]
    shade = look["line"]["color"]
    if all(e.has_interval for e in found):
        made.add_scatter(
            x=rounded([*n, *n[::-1]]),
            y=rounded([*(e.high for e in found), *(e.low for e in reversed(found))]),
            fill="toself",
            fillcolor=translucent(shade, 0.15),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=look["legendgroup"],
            name=f"{look['name']}, 95 % band",
        )
    values = np.array([e.value for e in found])
    inside, beyond = n <= fit.largest_measured, n >= fit.largest_measured
    _add_curve(made, n[inside], values[inside], look, "fit", "solid")
    if up_to > fit.largest_measured:
        _add_curve(made, n[beyond], values[beyond], look, "extrapolated", "dot")
        _add_extrapolated(made, fit, up_to, look)


def _add_curve(made: go.Figure, x: np.ndarray, y: np.ndarray, look: dict[str, Any], what: str, dash: str) -> None:
    line = {"color": look["line"]["color"], "dash": dash, "width": 2}
    shared = {"legendgroup": look["legendgroup"], "showlegend": False, "hoverinfo": "skip"}
    made.add_scatter(x=rounded(x), y=rounded(y), mode="lines", line=line, name=f"{look['name']}, {what}", **shared)


def _add_extrapolated(made: go.Figure, fit: LawFit, up_to: int, look: dict[str, Any]) -> None:
    """Mark doublings beyond the largest number of devices that was measured."""
    counts = [n for n in (fit.largest_measured * 2**k for k in range(1, 20)) if n < up_to]
    found = [fit.predict(n) for n in (*counts, up_to)]
    made.add_scatter(
        x=[*counts, up_to],
        y=rounded([e.value for e in found]),
        mode="markers",
        marker={"symbol": f"{look['marker']['symbol']}-open", "size": 9, "color": look["line"]["color"]},
        text=[f"extrapolated: {e:.3g}" for e in found],
        hovertemplate="%{text}",
        name=f"{look['name']}, extrapolated",
        legendgroup=look["legendgroup"],
        showlegend=False,
    )


def _set_axes(made: go.Figure, up_to: int, base: str, found: pd.DataFrame) -> None:
    """Set the axes by the values; wider bands run out of sight."""
    counts = sorted({1, *(2**k for k in range(1, int(np.log2(up_to)) + 1)), up_to})
    made.update_xaxes(**device_axis(counts))
    tall: dict[str, Any] = {"range": [0, 1.1 * up_to]}
    if is_wide(counts):
        least = 0.8 * min(1.0, *(e.value for e in found["speedup"] if e.count))
        tall = {"type": "log", "range": np.log10([least, 1.25 * up_to]).tolist()}
        tall["tickvals"] = device_axis(counts)["tickvals"]
    made.update_yaxes(title_text=f"Speed-up over {plain(base)} × 1", **tall)
