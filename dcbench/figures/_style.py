"""The common look of all figures: colours, captions, titles, display; it knows no particular figure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dcbench import stats
from dcbench.stats import Estimate
from dcbench.store import Runs, tidy

CONFIG = {"showSendToCloud": False, "displaylogo": False}
# Okabe and Ito's palette, told apart by readers with any colour vision
COLOURS = {"single": "#4D4D4D", "mirrored": "#0072B2", "horovod": "#D55E00", "independent": "#009E73"}
_FURTHER = ("#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
DASHES = {"single": "solid", "mirrored": "dash", "horovod": "dot", "independent": "dashdot"}
_CPU_NOTE = "CPU cores show the method and this machine, not a data centre"


class Figure(go.Figure):
    """A Plotly figure whose display offers no upload."""

    def show(self, *args: Any, **kwargs: Any) -> Any:
        """Show as `plotly.graph_objects.Figure.show` does, with ``CONFIG`` unless another is given."""
        return super().show(*args, **{"config": CONFIG, **kwargs})

    def _ipython_display_(self) -> None:
        self.show()

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> Any:
        return super()._repr_mimebundle_(*args, **{"config": CONFIG, **kwargs})


def colour(backend: str) -> str:
    """Return the colour of a backend; one that dcbench does not bring gets one by its name."""
    return COLOURS.get(backend, _FURTHER[sum(map(ord, backend)) % len(_FURTHER)])


def caption(runs: Runs, repeats: bool = True) -> str:
    """
    Say where the runs were made, with which software, and, with `repeats`, how often each was repeated.

    Returns
    -------
    str
        Two short lines separated by ``<br>``.
    """
    table = tidy(runs)
    machines = ", ".join(_plain(m) for m in pd.unique(table["machine"].dropna())) or "unknown machine"
    versions = [
        f"{name} {', '.join(_plain(v) for v in sorted(set(table[column].dropna())))}"
        for name, column in (("TensorFlow", "tensorflow_version"), ("Keras", "keras_version"))
        if table[column].notna().any()
    ]
    on_cores = machines.rstrip("s").endswith("core") or set(table["device_type"]) == {"cpu"}
    note = [_CPU_NOTE] if on_cores else []
    lines = ([machines, *versions], [_counted(table)] * repeats + note)
    return "<br>".join(" · ".join(line) for line in lines if line)


def _counted(table: pd.DataFrame) -> str:
    counts = sorted(set(table[table["status"] == "ok"].groupby(list(stats.KEY)).size()))
    if not counts:
        return "no completed run"
    spread = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"{spread} run{'' if spread == '1' else 's'} of each"


def rank(backend: str) -> tuple[int, str]:
    """Return the place of a backend in lists and legends."""
    return (list(COLOURS).index(backend) if backend in COLOURS else len(COLOURS), backend)


def label(backend: str, devices: int) -> str:
    """Return the short name of a configuration."""
    return f"{backend} × {devices}"


def _plain(text: str) -> str:
    """Drop what Plotly would read as markup."""
    return re.sub(r"[<>&]", " ", str(text))


def rounded(values: Iterable[float]) -> list[float | None]:
    """Return six significant digits of each value: what a picture can show."""
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]


def bars(estimates: Sequence[Estimate], shade: str) -> dict[str, Any]:
    """Return error bars for the intervals of estimates; none where there is no interval."""
    above = [e.high - e.value if e.has_interval else 0.0 for e in estimates]
    below = [e.value - e.low if e.has_interval else 0.0 for e in estimates]
    return {"array": above, "arrayminus": below, "color": shade, "thickness": 2, "width": 5}


def finished(made: go.Figure, title: str, under: str, height: int) -> Figure:
    """Give a figure its title, its caption and the common look."""
    made.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 70, "r": 20, "t": 100, "b": 60},
        title={
            "text": title,
            "subtitle": {"text": under, "font": {"size": 11.5, "color": "#616E7C"}},
        },
        title_font_size=17,
        legend={"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
        font={"color": "#1F2933"},
    )
    return Figure(made)
