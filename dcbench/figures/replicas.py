"""Copies of a model on several devices: whether they stay equal, what averaging costs, and batch and learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench import replicas, stats
from dcbench.descent import Problem
from dcbench.errors import SpecError
from dcbench.figures._lines import add_estimates, lines
from dcbench.figures._style import Figure, caption, finished, measured, plain, rounded
from dcbench.figures._surface import COMPUTED, add_surface, drawable, thinned
from dcbench.figures._theme import COLOURS, LINES, PALE, QUIET, SHADES, SYMBOLS, colour, marker
from dcbench.metrics import METRICS
from dcbench.store import Runs, tidy

_SHADES = (*SHADES[1:], SHADES[0])  # grey is that of one device alone
_OF = {"weak": "on each device", "strong": "of all devices together"}
_TICKS = [digit * 10.0**decade for decade in range(-5, 5) for digit in (1, 2, 5)]  # of logarithmic axes


def plot_replicas(problem: Problem, paths: np.ndarray, alone: np.ndarray | None = None, under: str = "") -> Figure:
    """
    Draw the way of each device's copy on the loss of all examples, and how far the copies are apart.

    Parameters
    ----------
    problem : Problem
    paths : ndarray of shape (devices, steps + 1, parameters)
        As from `replicas.train`.
    alone : ndarray of shape (steps + 1, parameters), optional
        The way of one device with all examples, to compare with; drawn broad and pale.
    under : str
        What was trained, for the caption.

    Raises
    ------
    SpecError
        If `paths` has another shape.
    """
    paths = np.asarray(paths, float)
    if paths.ndim != 3 or paths.shape[2] != len(problem.parameters) or not paths.size:
        raise SpecError(
            f"plot_replicas was given paths of shape {paths.shape}; "
            f"give (devices, steps + 1, {len(problem.parameters)} parameters)"
        )
    made = make_subplots(cols=2, column_widths=[0.55, 0.45], horizontal_spacing=0.15)
    add_surface(made, problem)
    if alone is not None:
        look = {"line": {"color": PALE, "width": 7}, "mode": "lines", "name": "one device, all examples"}
        made.add_scatter(**_places(problem, np.asarray(alone, float)), **look, row=1, col=1)
    for device, path in enumerate(paths):
        made.add_scatter(**_places(problem, path), **_copy(device, len(paths)), row=1, col=1)
    apart = replicas.spread(paths)
    kept = thinned(len(apart), 1)
    line = {"mode": "lines", "line": {"color": QUIET, "width": 2}, "showlegend": False, "name": "distance"}
    made.add_scatter(x=kept, y=drawable(apart[kept]), hovertemplate="step %{x}: %{y:.3g}", **line, row=1, col=2)
    most = float(min(1.1 * apart.max(), 1e9)) or 1.0
    made.update_xaxes(title_text="Step", row=1, col=2)
    made.update_yaxes(title_text="Farthest copy from the mean", range=[-0.03 * most, most], row=1, col=2)
    end = f"up to {apart.max():.2g} from their mean" if apart.any() else "equal bit for bit at every step"
    title = f"{len(paths)} {'copy' if len(paths) == 1 else 'copies'} of {problem.formula}: {end}"
    return finished(made, title, plain(under or f"{len(problem.x)} examples; {COMPUTED}"), 320)


def _places(problem: Problem, path: np.ndarray) -> dict[str, Any]:
    """Return the points of a path on the loss surface, thinned."""
    kept = path[thinned(len(path), 10)]
    y = kept[:, 1] if kept.shape[1] > 1 else problem.loss(kept)
    return {"x": drawable(kept[:, 0]), "y": drawable(y)}


def _copy(device: int, devices: int) -> dict[str, Any]:
    """Return a copy's look: later ones are thinner, so that equal ones can be seen on each other."""
    shade, width = _SHADES[device % len(_SHADES)], max(1.5, 4.5 - 3 * device / max(1, devices - 1))
    symbol = SYMBOLS[device % len(SYMBOLS)]
    return {
        "mode": "lines+markers",
        "name": f"device {device}",
        "line": {"color": shade, "width": width, "dash": LINES[min(device, 1)]},
        "marker": {"color": shade, "symbol": f"{symbol}-open", "size": 5 + 3 * (device == 0), "maxdisplayed": 15},
    }


def plot_reductions(times: Mapping[str, Mapping[int, Sequence[float]]], where: str) -> Figure:
    """
    Draw the time of an average over devices by its size, for each way to make it.

    Parameters
    ----------
    times : mapping of str to (mapping of int to sequence of float)
        By the name of the way, then by the bytes of one device's values: the time of each repeat (s).
    where : str
        On what it was measured, for the caption.

    Raises
    ------
    SpecError
        If there is nothing to draw.
    """
    if not times or not all(times.values()):
        raise SpecError("plot_reductions was given no measured times; measure at least one way and size")
    made = go.Figure()
    for place, (name, by_size) in enumerate(times.items()):
        found = [stats.median_interval(values).scaled(1e3) for values in by_size.values()]
        shade = _SHADES[place % len(_SHADES)]
        look = {"line": {"color": shade, "dash": LINES[place % len(LINES)], "width": 2}, "name": plain(name)}
        look["marker"] = {"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 8}
        add_estimates(made, list(by_size), found, **look)
    sizes = sorted({size for by_size in times.values() for size in by_size})
    ticks = {"tickvals": sizes, "ticktext": [_bytes(size) for size in sizes]}
    made.update_xaxes(title_text="Bytes of one device's gradients", type="log", **ticks)
    made.update_yaxes(title_text="Time (ms), lower is better", type="log", tickvals=_TICKS)
    counts = sorted({len(v) for by_size in times.values() for v in by_size.values()})
    under = f"{plain(where)}<br>median of {'–'.join(map(str, counts))} repeats each, with its 95 % interval"
    return finished(made, "Averaging gradients: time by size", under, 320)


def _bytes(size: int) -> str:
    """
    Write a number of bytes shortly.

    Examples
    --------
    >>> _bytes(1000), _bytes(16_000_000), _bytes(500)
    ('1 kB', '16 MB', '500 B')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size} B"


def plot_learning_rate_scaling(runs: Runs, metric: str = "test_loss") -> Figure:
    """
    Draw what training reaches by its global batch, with the same learning rate and with one that grows with the batch.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        Over the same examples; the smallest global batch sets the learning rate that the others are compared with.
    metric : str
        One of `dcbench.METRICS`.

    Raises
    ------
    SpecError
        If no run has the metric, or one has a learning rate of neither kind.
    """
    table = measured(runs)
    good = table[(table["status"] == "ok") & table[metric].notna()]
    if good.empty:
        raise SpecError(f"none of the {len(table)} runs has a {metric}; make runs with evaluate=True")
    made = go.Figure()
    for name, rows in replicas.by_rule(good).items():
        shade, symbol = (COLOURS["horovod"], "diamond") if name == replicas.SCALED else (COLOURS["single"], "circle")
        look = {"line": {"color": shade, "width": 2, "dash": LINES[name == replicas.SAME]}, "name": name}
        middle = rows.groupby("global_batch")[metric].apply(stats.median_interval)
        add_estimates(made, middle.index, list(middle), **look, marker={"symbol": symbol, "size": 9})
    for backend, rows in good[good["devices"] > 1].groupby("backend"):
        sign = {"color": colour(backend), "symbol": f"{marker(rows['model'].iloc[0])}-open", "size": 15}
        sign["line"] = {"width": 2.5}
        middle = rows.groupby(["global_batch", "devices", "lr_scaling"])[metric].median().reset_index()
        name = f"{plain(backend)} × {', '.join(map(str, sorted(set(rows['devices']))))}"
        made.add_scatter(x=middle["global_batch"], y=rounded(middle[metric]), mode="markers", marker=sign, name=name)
    found = METRICS[metric]
    batches = sorted(set(good["global_batch"]))
    ticks = {"tickvals": batches, "ticktext": [f"{b:g}" for b in batches]}
    made.update_xaxes(title_text=f"Examples a step {_OF['strong']}", type="log", **ticks)
    decades = {"type": "log", "tickvals": _TICKS} if metric.endswith("loss") else {}
    made.update_yaxes(title_text=f"{found.label}, {found.better} is better", **decades)
    title = f"{_names(good, 'model')} on {_names(good, 'dataset')}: batch and learning rate after {_length(good)}"
    least = good[good["global_batch"] == batches[0]]
    rates = _names(least.assign(shown=[f"{rate:g}" for rate in least["learning_rate"]]), "shown")
    notes = [f"{_names(good, 'optimizer')}; learning rate {rates} at {batches[0]:g} examples a step"]
    notes.append(f"median of {good['seed'].nunique()} seeds, with its 95 % interval")
    return finished(made, title, caption(good, notes=notes, repeats=False), 330)


def _names(table: pd.DataFrame, column: str) -> str:
    return ", ".join(plain(name) for name in sorted(set(table[column].astype(str))))


def _length(table: pd.DataFrame) -> str:
    epochs = table["epochs"].dropna().unique()
    return f"{epochs[0]:g} epochs" if len(epochs) == 1 else "training"


def plot_speedup_by_batch(
    runs: Runs, base: str = "single", ceiling: str = "independent", mode: str = "weak"
) -> Figure:
    """
    Draw the speed-up of several devices over one by the batch: that of each device, or of all in strong scaling.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        Of one model, on one device and on one larger number.
    base, ceiling, mode : str
        As for `stats.scaling`.

    Raises
    ------
    SpecError
        As from `stats.scaling`, and for several models or several numbers of devices.
    """
    found = stats.scaling(tidy(runs), base, ceiling, mode)
    found = found[found["devices"] > 1]
    if found["devices"].nunique() != 1 or found[["model", "dataset"]].drop_duplicates().shape[0] != 1:
        counts = ", ".join(map(str, sorted(found["devices"].unique()))) or "none"
        raise SpecError(
            "plot_speedup_by_batch draws one model on one number of devices above 1, and was given "
            f"{', '.join(found['model'].unique()) or 'none'} on {counts}; keep the rows of one"
        )
    made, devices, batches = go.Figure(), int(found["devices"].iloc[0]), sorted(found["batch"].unique())
    for height, name in ((devices, "ideal"), (1, "one device")):
        dashed = {"color": QUIET, "dash": "dash" if name == "ideal" else "solid", "width": 1.5}
        made.add_scatter(x=batches, y=[height] * len(batches), mode="lines", line=dashed, name=name, hoverinfo="skip")
    for (backend, variant), rows in found.groupby(["backend", "variant"], sort=False):
        (look, _), *_ = lines(rows, base)
        look["name"] = f"{plain(f'{backend} {variant}'.strip())} × {devices}" + " (the ceiling)" * (backend == ceiling)
        ordered = rows.sort_values("batch")
        add_estimates(made, ordered["batch"], list(ordered["speedup"]), **look)
    ticks = {"tickvals": batches, "ticktext": [f"{b:g}" for b in batches]}
    made.update_xaxes(title_text=f"Examples a step {_OF[mode]}", type="log", **ticks)
    highest = 1.25 * max(devices, *(e.value for e in found["speedup"]))
    made.update_yaxes(title_text=f"Speed-up over {plain(base)} × 1", range=[0, highest])
    title = f"{plain(found['model'].iloc[0])} on {devices} devices: speed-up by batch"
    return finished(made, title, caption(runs), 330)
