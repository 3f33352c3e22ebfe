"""What all figures share: how they show, their captions, titles and intervals; it knows no particular figure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench import stats
from dcbench.figures._theme import COLOURS, DARK, LIGHT, darkened, marker
from dcbench.stats import Estimate
from dcbench.store import Runs, tidy

CONFIG = {"showSendToCloud": False, "displaylogo": False}
MAX_MARKS = 2000  # in one figure: more cannot be told apart, and take a browser seconds
_CPU_NOTE = "CPU cores show the method and this machine, not a data centre"
_WIDTH_PX = 700  # of a report's page, the narrowest place a figure is shown at
_MOST_MACHINES = 3
_ASKED = ("machine", "device_type", "tensorflow_version", "keras_version")
_CONFIGURATION = ("model", "dataset", *stats.KEY, "spec_hash")


class Figure(go.Figure):
    """A Plotly figure whose display offers no upload, and that has a dark copy."""

    def dark(self) -> Figure:
        """Return a copy for dark pages: every colour is replaced by its partner."""
        plain = darkened(self.to_plotly_json())
        plain["layout"]["template"] = DARK
        return Figure(plain)

    def show(self, *args: Any, **kwargs: Any) -> Any:
        """Show as `plotly.graph_objects.Figure.show` does, with ``CONFIG`` unless another is given."""
        return super().show(*args, **{"config": CONFIG, **kwargs})

    def to_html(self, *args: Any, **kwargs: Any) -> Any:
        """Return HTML as `plotly.graph_objects.Figure.to_html` does, with ``CONFIG`` unless another is given."""
        return super().to_html(*args, **{"config": CONFIG, **kwargs})

    def write_html(self, *args: Any, **kwargs: Any) -> Any:
        """Write HTML as `plotly.graph_objects.Figure.write_html` does, with ``CONFIG`` unless another is given."""
        return super().write_html(*args, **{"config": CONFIG, **kwargs})

    def _ipython_display_(self) -> None:
        self.show()

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> Any:
        return super()._repr_mimebundle_(*args, **{"config": CONFIG, **kwargs})


def caption(runs: Runs, repeats: bool = True, notes: Iterable[str] = ()) -> str:
    """
    Say where the runs were made, with which software, and, with `repeats`, how often each was repeated.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
    repeats : bool
    notes : iterable of str
        What else a reader of this figure must know.

    Returns
    -------
    str
        Lines separated by ``<br>``, short enough for a report's page.
    """
    table = tidy(runs)
    table = table.reindex(columns=[*table, *(name for name in _ASKED if name not in table)])
    names = [plain(m) for m in pd.unique(table["machine"].dropna())] or ["unknown machine"]
    more = [f"and {len(names) - _MOST_MACHINES} more machines"] * (len(names) > _MOST_MACHINES)
    machines = ", ".join([*names[:_MOST_MACHINES], *more])
    versions = [
        f"{name} {', '.join(plain(v) for v in sorted(set(table[column].dropna())))}"
        for name, column in (("TensorFlow", "tensorflow_version"), ("Keras", "keras_version"))
        if table[column].notna().any()
    ]
    on_cores = machines.rstrip("s").endswith("core") or set(table["device_type"]) == {"cpu"}
    second = [_counted(table)] * repeats + [_CPU_NOTE] * on_cores
    parts = ([machines, *versions], second, *([note] for note in (*_drifts(table), *notes)))
    return "<br>".join(line for part in parts for line in _folded(part))


def _drifts(table: pd.DataFrame) -> list[str]:
    """Say how far a sweep's canary moved from its start to its end, where that is beyond chance."""
    ratios = [found for found in stats.canary_ratios(table).values() if found and stats.has_drifted(found)]
    return [f"the machine drifted: the canary's speed in the end was {r:.2f} times that at the start" for r in ratios]


def measured(runs: Runs) -> pd.DataFrame:
    """Return the table of the runs without a sweep's canaries."""
    table = tidy(runs)
    return table[table["canary"] != True] if "canary" in table else table  # noqa: E712 - None for a lone run


def _counted(table: pd.DataFrame) -> str:
    kept = measured(table[table["status"] == "ok"])
    counts = sorted(set(kept.groupby([c for c in _CONFIGURATION if c in kept], dropna=False).size()))
    if not counts:
        return "no completed run"
    spread = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"{spread} run{'' if spread == '1' else 's'} of each"


def _folded(parts: Sequence[str]) -> list[str]:
    """Join parts with dots into lines that fit."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= _columns(11.5):
            lines[-1] += f" · {part}"
        else:
            lines += textwrap.wrap(part, _columns(11.5))
    return lines


def _columns(font_px: float) -> int:
    """Return how many characters of a font fit beside each other."""
    return int((_WIDTH_PX - 24) / (0.53 * font_px))


def rank(backend: str) -> tuple[int, str]:
    """Return the place of a backend in lists and legends."""
    return (list(COLOURS).index(backend) if backend in COLOURS else len(COLOURS), backend)


def label(backend: str, devices: int) -> str:
    """Return the short name of a configuration."""
    return f"{plain(backend)} × {devices}"


def plain(text: str) -> str:
    """
    Drop what Plotly would read as markup, and the folders of a function's file.

    Examples
    --------
    >>> plain("mine/models.py:build"), plain("<b>cnn")
    ('models.py:build', ' b cnn')
    """
    return re.sub(r"[<>&]", " ", re.sub(r"^.*/(?=[^/]+\.py:)", "", str(text)))


def rounded(values: Iterable[float]) -> list[float | None]:
    """Return six significant digits of each value: what a picture can show."""
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]


def bars(estimates: Sequence[Estimate], shade: str) -> dict[str, Any]:
    """Return error bars for the intervals of estimates; none where there is no interval."""
    above = [e.high - e.value if e.has_interval else 0.0 for e in estimates]
    below = [e.value - e.low if e.has_interval else 0.0 for e in estimates]
    return {"array": above, "arrayminus": below, "color": shade, "thickness": 2, "width": 5}


def add_runs(made: go.Figure, name: str, values: Sequence[float], shade: str, model: str, row: int = 1) -> None:
    """Draw the runs of a row as open markers of their model."""
    made.add_scatter(
        x=rounded(values),
        y=[name] * len(values),
        mode="markers",
        marker={"color": shade, "symbol": f"{marker(model)}-open", "size": 8, "opacity": 0.8},
        name=name,
        hovertemplate="%{x:,.5~r}",
        row=row,
        col=1,
    )


def add_median(made: go.Figure, name: str, middle: Estimate, shade: str, form: str, row: int = 1) -> None:
    """Draw the median of a row of runs as an upright bar, with its interval and its value above."""
    made.add_scatter(
        x=[middle.value],
        y=[name],
        mode="markers+text",
        marker={"color": shade, "symbol": "line-ns-open", "size": 16, "line": {"width": 3}},
        error_x=bars([middle], shade),
        text=[format(middle.value, form)],
        textposition="top center",
        cliponaxis=False,  # a number that the axis cuts is read as another
        name=name,
        hovertemplate=f"median {middle:{form}}",
        row=row,
        col=1,
    )


def finished(made: go.Figure, title: str, under: str, panel_px: int) -> Figure:
    """
    Give a figure its title, its caption and the common look.

    Parameters
    ----------
    made : plotly.graph_objects.Figure
    title, under : str
    panel_px : int
        Height of the panels with their axes; the title, the caption and the legend get their own room.
    """
    under = "<br>".join([under] * bool(under) + _out_of_sight(made))
    heading = textwrap.wrap(title, _columns(17))
    top_px = 26 + 22 * len(heading) + 15 * (1 + under.count("<br>")) + 14
    made.update_layout(
        template=LIGHT,
        margin={"l": 60, "r": 24, "t": top_px, "b": 56},
        title={
            "text": "<br>".join(heading),
            "subtitle": {"text": under},
            "pad_t": 14 + 22 * (len(heading) - 1),  # Plotly lifts the further lines above the first
        },
        height=top_px + panel_px + _legend_px(made),
    )
    return Figure(made)


def _out_of_sight(made: go.Figure) -> list[str]:
    """Say so where an interval or a band ends beyond its axis."""
    for trace in made.select_traces("scatter"):
        for letter in "xy":
            bar, values = trace[f"error_{letter}"], trace[letter]
            axis = made.layout[(trace[f"{letter}axis"] or letter).replace(letter, f"{letter}axis")]
            if axis.range is None or not (bar.array is not None or (trace.fill == "toself" and letter == "y")):
                continue
            at = np.array(values, dtype=float)
            above, below = (0.0 if end is None else np.array(end, float) for end in (bar.array, bar.arrayminus))
            low, high = sorted(10.0**end if axis.type == "log" else end for end in axis.range)
            if (at + above > high * (1 + 1e-9)).any() or (at - below < low - 1e-9 * abs(low)).any():
                return ["intervals wider than the axis run out of sight"]
    return []


def headed(made: go.Figure) -> go.Figure:
    """Put the headings of panels, of which each row has one, to the left."""
    return made.for_each_annotation(lambda a: a.update(x=0, xanchor="left", font={"size": 13, "weight": 600}))


def stacked(names: Sequence[str], rows: Sequence[int], row_px: int, panel_px: int) -> go.Figure:
    """
    Return panels one below the other, each with its name where there are several, and as high as its rows need.

    Parameters
    ----------
    names : sequence of str
    rows : sequence of int
        How many rows each panel has.
    row_px, panel_px : int
        Height of a row, and of a panel beside its rows.
    """
    whole = sum(rows) * row_px + len(rows) * panel_px
    titles = [plain(name) for name in names] if len(names) > 1 else None
    gap = panel_px / whole if len(names) > 1 else 0
    made = make_subplots(rows=len(names), cols=1, row_heights=list(rows), vertical_spacing=gap, subplot_titles=titles)
    return headed(made)


def _legend_px(made: go.Figure) -> int:
    """Return the height that the legend will need on a report's page."""
    names = {t.legendgroup or t.name: str(t.name) for t in made.data if t.showlegend is not False and t.name}
    if made.layout.showlegend is False or len(made.data) < 2 or not names:
        return 0
    per_row = max(1, int((_WIDTH_PX - 24) / (50 + 7 * max(map(len, names.values())))))  # columns are of equal width
    return 12 + 20 * -(-len(names) // per_row)
