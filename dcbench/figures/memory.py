"""Peak memory by configuration, with its range over the repeats."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dcbench.errors import SpecError
from dcbench.figures._configurations import configured, first_rows
from dcbench.figures._style import Figure, caption, finished, measured, rounded, stacked
from dcbench.figures._theme import TEXT, colour, translucent
from dcbench.metrics import METRICS
from dcbench.store import Runs

_GIB = 2**30
_ROW_PX, _PANEL_PX = 28, 80


def plot_memory(runs: Runs) -> Figure:
    """
    Draw the peak memory of each configuration in GiB (2^30 B): of the host and, where there are GPUs, of a device.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `dcbench.load_records`. Bars are medians of completed runs, their ends the least and the largest.

    Raises
    ------
    SpecError
        If no completed run tells its memory.
    """
    table = measured(runs)
    good = table[table["status"] == "ok"]
    names = [n for n in ("peak_host_bytes", "peak_device_bytes") if n in good and good[n].notna().any()]
    if not names:
        raise SpecError("no completed run tells its peak memory; there is nothing to draw")
    shown, notes = first_rows(configured(good))
    rows = shown["configuration"].nunique()
    made = stacked([METRICS[n].label for n in names], [rows] * len(names), _ROW_PX, _PANEL_PX)
    for row, name in enumerate(names, 1):
        _add_bars(made, row, name, shown)
    made.update_layout(showlegend=False)
    title = "Peak memory: median of the runs, and their range"
    under = caption(runs, notes=[*notes, *(f"{METRICS[n].label}: {METRICS[n].definition}" for n in names)])
    return finished(made, title, under, len(names) * (_PANEL_PX + _ROW_PX * rows))


def _add_bars(made: go.Figure, row: int, metric: str, table: pd.DataFrame) -> None:
    peaks = (table[metric] / _GIB).groupby(table["configuration"], sort=False)
    found = peaks.agg(["median", "min", "max"])
    shades = [colour(b) for b in table.drop_duplicates("configuration")["backend"]]
    reach = {"array": rounded(found["max"] - found["median"]), "arrayminus": rounded(found["median"] - found["min"])}
    made.add_bar(
        x=rounded(found["median"]),
        y=list(found.index),
        orientation="h",
        marker={"color": [translucent(s, 0.6) for s in shades], "line": {"color": shades, "width": 1.5}},
        error_x={**reach, "color": TEXT, "thickness": 2, "width": 5},
        text=[f"{v:.3g}" for v in found["max"]],
        textposition="none",
        hovertemplate="%{x:.3g} GiB, at most %{text} GiB",
        row=row,
        col=1,
    )
    title = f"{METRICS[metric].label} (GiB), lower is better"
    made.update_xaxes(title_text=title, range=[0, 1.15 * float(found["max"].max())], row=row, col=1)
    made.update_yaxes(type="category", range=[len(found) - 0.5, -0.5], row=row, col=1)
