"""A sweep as it was made: each run in the order of time, by configuration, and how it ended."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dcbench.errors import SpecError
from dcbench.figures._configurations import configured, first_rows
from dcbench.figures._style import MAX_MARKS, Figure, caption, finished, plain
from dcbench.figures._theme import QUIET, colour
from dcbench.metrics import METRICS
from dcbench.store import Runs, by_time, tidy

SYMBOLS = {
    "ok": "circle",
    "failed": "x",
    "diverged": "cross",
    "timeout": "hourglass",
    "cancelled": "square-open",
    "interrupted": "diamond-open",
    "running": "triangle-right-open",
}
WAITED = "waited for another measurement"
_WAIT = r"waited ([\d.]+) s for another measurement"  # the flag of such a run
_LEGEND = len(SYMBOLS) + 1  # marks
_ROW_PX, _LEAST_ROW_PX, _PANEL_PX, _MOST_REASON = 28, 18, 80, 160
_SHEET_PX = 740  # of rows, so that some forty of them still fit on a printed page
_MOST_TICKS = 12  # one for each run


def plot_sweep(runs: Runs) -> Figure:
    """
    Draw every run of a sweep in the order it was made, a row a configuration, by how it ended.

    Canaries have a row of their own, above; runs that had to wait for another measurement on the machine have a ring.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `dcbench.load_sweep`, or the rows of a sweep in `dcbench.load_records`. Of more runs than ``MAX_MARKS``
        allows, the newest are drawn.

    Raises
    ------
    SpecError
        If there are none.

    Examples
    --------
    >>> plot_sweep([])
    Traceback (most recent call last):
    dcbench.errors.SpecError: plot_sweep needs the runs of a sweep, and there are none; ...
    """
    table = tidy(runs)
    if table.empty:
        raise SpecError("plot_sweep needs the runs of a sweep, and there are none; give those of dcbench.load_sweep()")
    shown, newest = _newest(_numbered(table))
    shown, first = first_rows(_named(shown))
    names = list(pd.unique(shown["configuration"]))
    made = go.Figure()
    for status, own in shown.groupby("status", sort=False):
        _add(made, own, {"symbol": SYMBOLS[str(status)], "size": 9, "color": [colour(b) for b in own["backend"]]})
    waiting = shown[shown["waited_s"] > 0]
    if len(waiting):
        _add(made, waiting, {"symbol": "circle-open", "size": 17, "color": QUIET})
    _add_legend(made, [s for s in SYMBOLS if (shown["status"] == s).any()], len(waiting) > 0)
    made.update_xaxes(title_text="Run (in the order of time)", **_span(shown["number"]))
    made.update_yaxes(type="category", categoryarray=names, range=[len(names) - 0.4, -0.6])
    title = "Every run of the sweep in the order it was made"
    row_px = max(_LEAST_ROW_PX, min(_ROW_PX, _SHEET_PX // len(names)))
    panel_px = len(names) * row_px + _PANEL_PX
    return finished(made, title, caption(table, notes=[_counted(table), *newest, *first]), panel_px)


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Add each run's number in time, from 1, and how long it waited (s)."""
    ordered = by_time(table).reset_index(drop=True)
    flags = ordered["flags"].astype("string") if "flags" in ordered else pd.Series("", ordered.index, dtype="string")
    waited_s = flags.str.extract(_WAIT, expand=False).astype(float).fillna(0.0)
    return ordered.assign(number=np.arange(1, len(ordered) + 1), waited_s=waited_s)


def _newest(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Keep as many runs as a figure has marks for."""
    marks = (1 + (table["waited_s"] > 0))[::-1].cumsum()[::-1]
    kept = table[marks <= MAX_MARKS - _LEGEND]
    return kept, [f"the newest {len(kept):,} of {len(table):,} runs"] * (len(kept) < len(table))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Name each run's configuration, canaries first and apart."""
    named = configured(table)
    canary = named["canary"].isin([True]) if "canary" in named else pd.Series(False, named.index)
    apart = named["configuration"].where(~canary, "canary, " + named["configuration"])
    return pd.concat([named.assign(configuration=apart)[canary], named[~canary]], ignore_index=True)


def _add(made: go.Figure, rows: pd.DataFrame, look: dict[str, object]) -> None:
    made.add_scatter(
        x=rows["number"].tolist(),
        y=rows["configuration"].tolist(),
        mode="markers",
        marker={"line": {"width": _line_px(look["symbol"])}, **look},
        hovertext=[_told(run) for run in rows.to_dict("records")],
        hoverinfo="text",
        showlegend=False,
    )


def _line_px(symbol: object) -> float:
    """Return the width of a mark's outline: a filled one has none, or it would be of another colour."""
    return 1.5 if str(symbol).endswith("-open") else 0


def _told(run: dict[str, object]) -> str:
    """Say of one run what its mark cannot."""
    why = f": {plain(str(run['reason']))[:_MOST_REASON]}" if run.get("reason") else ""
    said = [f"{plain(str(run['run_id']))}", f"{run['status']}{why}"]
    if pd.notna(speed := run.get("throughput")):
        said.append(f"{speed:,.0f} {METRICS['throughput'].unit}")
    if run["waited_s"]:
        said.append(f"waited {run['waited_s']:.0f} s")
    return "<br>".join(said)


def _add_legend(made: go.Figure, statuses: list[str], waited: bool) -> None:
    looks = {s: {"symbol": SYMBOLS[s], "size": 9} for s in statuses}
    looks |= {WAITED: {"symbol": "circle-open", "size": 17}} if waited else {}
    for name, look in looks.items():
        mark = {"color": QUIET, "line": {"width": _line_px(look["symbol"])}, **look}
        made.add_scatter(x=[None], y=[None], mode="markers", marker=mark, name=name, showlegend=True)


def _span(numbers: pd.Series) -> dict[str, object]:
    """Return an axis of whole numbers with a little room beside the first and the last run."""
    low, high = int(numbers.min()), int(numbers.max())
    room = max(0.5, 0.02 * (high - low))
    return {"range": [low - room, high + room], **({"dtick": 1} if high - low < _MOST_TICKS else {})}


def _counted(table: pd.DataFrame) -> str:
    counts = table["status"].value_counts()
    said = ", ".join(f"{counts[s]} {s}" for s in SYMBOLS if s in counts)
    canaries = int(table["canary"].isin([True]).sum()) if "canary" in table else 0
    return f"{len(table):,} run{'s' * (len(table) != 1)} ({said})" + f", {canaries} of them canaries" * (canaries > 0)
