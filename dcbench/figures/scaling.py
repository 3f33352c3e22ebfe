"""Speed-up and efficiency over the number of devices, as a figure and as a table to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench import stats
from dcbench.figures._lines import (
    GROUP,
    add_estimates,
    add_models,
    apart,
    device_axis,
    group_name,
    is_wide,
    lines,
    panels,
)
from dcbench.figures._style import Figure, caption, finished, headed, label, plain, rank
from dcbench.figures._theme import QUIET
from dcbench.stats import Estimate
from dcbench.store import Runs, tidy

TITLES = {"weak": "the same batch on every device", "strong": "the same global batch on all devices together"}
_ABOVE = " above 100\u00a0%: is the base right?"
_PANEL_PX = 330
_MOST_NAMES = 4


def plot_scaling(runs: Runs, base: str = "single", ceiling: str = "independent", mode: str = "weak") -> Figure:
    """
    Draw speed-up and efficiency against the number of devices, with the ideal and the ceiling.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `dcbench.load_records`. Two models at one batch share a panel; otherwise each model and batch
        has its own, and of more than four the least and the largest batches are drawn.
    base, ceiling, mode : str
        As for `stats.scaling`.

    Raises
    ------
    SpecError
        As from `stats.scaling`.
    """
    found = stats.scaling(tidy(runs), base, ceiling, mode)
    shown, notes = panels(found, mode)
    made = make_subplots(
        rows=len(shown),
        cols=2,
        horizontal_spacing=0.12,
        vertical_spacing=0.25 / len(shown),
        subplot_titles=[text for heading, _ in shown for text in (heading, "")],
    )
    for row, (_, rows) in enumerate(shown, 1):
        _add_panels(made, row, rows, base, ceiling)
    if len(shown) == 1:
        add_models(made, list(found["model"].unique()))
    title = f"{mode.title()} scaling: {TITLES[mode]}"
    kinds = found[list(GROUP)].drop_duplicates()
    if len(kinds) == 1:
        title = f"{mode.title()} scaling of {group_name(kinds.iloc[0], mode)}"
    under = caption(runs, notes=[*notes, *_flags(found)])
    return finished(headed(made), title, under, _PANEL_PX * len(shown))


def _add_panels(made: go.Figure, row: int, found: pd.DataFrame, base: str, ceiling: str) -> None:
    """Draw one row of panels: the speed-up on the left, the efficiency on the right."""
    counts = sorted(set(found["devices"]))
    ideal = {"mode": "lines", "line": {"color": QUIET, "dash": "dash", "width": 1.5}, "name": "ideal"}
    ideal |= {"legendgroup": "ideal", "hoverinfo": "skip"}
    made.add_scatter(x=counts, y=counts, row=row, col=1, showlegend=row == 1, **ideal)
    made.add_scatter(x=counts, y=[100] * len(counts), row=row, col=2, showlegend=False, **ideal)
    known = {trace.legendgroup for trace in made.data}
    drawn = lines(found, base)
    for place, (look, rows) in enumerate(drawn):
        x = apart(rows["devices"], place, len(drawn), counts)
        if rows["backend"].iloc[0] == ceiling:
            look["name"] += " (the ceiling)"
        first = look["legendgroup"] not in known
        known.add(look["legendgroup"])
        add_estimates(made, x, list(rows["speedup"]), row=row, col=1, showlegend=first, **look)
        percent = [e.scaled(100) for e in rows["efficiency"]]
        add_estimates(made, x, percent, row=row, col=2, showlegend=False, **look)
    made.update_xaxes(row=row, **device_axis(counts))
    _set_heights(made, row, found, base, counts)


def _set_heights(made: go.Figure, row: int, found: pd.DataFrame, base: str, counts: Sequence[int]) -> None:
    """Set the axes by the values; wider intervals run out of sight."""
    highest = max(1.25, 1.25 * float(np.nanmax([e.value for e in found["efficiency"]])))
    tall: dict[str, Any] = {"range": [0, highest * max(counts)]}
    if is_wide(counts):
        least = 0.8 * float(np.nanmin([e.value for e in found["speedup"]]))
        ticks = device_axis(counts)["tickvals"]
        tall = {"type": "log", "range": np.log10([least, 1.25 * max(counts)]).tolist(), "tickvals": ticks}
    made.update_yaxes(title_text=f"Speed-up over {plain(base)} × 1", row=row, col=1, **tall)
    made.update_yaxes(title_text="Efficiency (%)", range=[0, highest * 100], row=row, col=2)


def _flags(found: pd.DataFrame) -> list[str]:
    """Return what `stats.scaling` flags, each once with where it holds."""
    where: dict[str, list[str]] = {}
    for row in found.itertuples():
        for flag in row.flags:
            where.setdefault(flag, []).append(label(row.backend, row.devices))
    return [flag if len(names) == len(found) else f"{flag} ({_some(names)})" for flag, names in where.items()]


def _some(names: Sequence[str]) -> str:
    """List the first different names and count the rest."""
    several = list(dict.fromkeys(names))
    return ", ".join(several[:_MOST_NAMES]) + f" and {len(several) - _MOST_NAMES} more" * (len(several) > _MOST_NAMES)


def scaling_summary(runs: Runs, base: str = "single", ceiling: str = "independent", mode: str = "weak") -> pd.DataFrame:
    """Return `stats.scaling` as a table to read, sorted: each estimate as its value and interval."""
    found = stats.scaling(tidy(runs), base, ceiling, mode)
    found = found.assign(place=[rank(b) for b in found["backend"]])
    found = found.sort_values([*GROUP, "devices", "place", "variant"], ignore_index=True)
    rows = list(found.itertuples())
    table = pd.DataFrame(
        {
            "configuration": [label(r.backend, r.devices) + f", {plain(r.variant)}" * bool(r.variant) for r in rows],
            "runs": found["repeats"],
            "throughput (examples/s)": [_read(e, ",.0f") for e in found["throughput"]],
            f"speed-up over {base} × 1": [_read(e, ".2f") for e in found["speedup"]],
            "efficiency": [_read(e, ".0%") + _ABOVE * (e.low > 1) for e in found["efficiency"]],
            "of the ceiling": ["" if e is None else _read(e, ".0%") for e in found["of_ceiling"]],
        }
    )
    named = [n for n in GROUP if found[n].nunique() > 1]  # what tells the groups apart
    size = f"examples a {'device' if mode == 'weak' else 'step'}"
    for place, name in enumerate(named):
        column = size if name == "batch" else name
        table.insert(place, column, [f"{v:g}" if name == "batch" else plain(v) for v in found[name]])
    return table.set_index([*table.columns[: len(named)], "configuration"])


def _read(estimate: Estimate, form: str) -> str:
    """Write an estimate so that a narrow column breaks before its interval, not within."""
    return format(estimate, form).replace(", ", ",\u00a0")
