"""A run under way, or one that has ended: loss, throughput, step time and memory as they stand."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.subplots import make_subplots

from dcbench.figures._style import Figure, caption, finished, headed, label, plain
from dcbench.figures._theme import LINES, SHADES, colour, translucent
from dcbench.metrics import METRICS
from dcbench.record import Record
from dcbench.store import tidy
from dcbench.watching import UNDER_WAY, Thinned, Use, Watch

MOST_POINTS = 400  # of one line: a panel is hardly wider in pixels
MOST_RANKS = 8
_GIB, _MOST_BYTES, _UNIT = 2**30, 2**63, METRICS["throughput"].unit
_PANELS = ((1, 1), (1, 2), (2, 1), (2, 2))
LOSS, RATE, STEP, MEMORY = range(4)  # panels, as they are read


def plot_live(run: Watch | Record, use: Sequence[Use] = ()) -> Figure:
    """
    Draw a run as it stands: loss by step, throughput over time, step time and memory by rank.

    Parameters
    ----------
    run : Watch or Record
        Whatever its status: what was measured until now is drawn.
    use : sequence of Use
        As from ``Watch.usage``; the peaks of the record are drawn where there is one.

    Notes
    -----
    Losses are the mean of all devices. Each point of a line is the mean of equally many steps, up to ``MOST_POINTS``
    of them. Throughput is the global batch over the step time of the slowest rank. Of more than ``MOST_RANKS`` ranks,
    the slowest and evenly spaced ones are drawn.
    """
    watch = run if isinstance(run, Watch) else Watch(run)
    traces, headings = live_parts(watch, use)
    made = make_subplots(
        rows=2, cols=2, horizontal_spacing=0.13, vertical_spacing=0.24, subplot_titles=headings
    )  # fmt: skip
    for panel, trace in traces:
        made.add_trace(trace, row=_PANELS[panel][0], col=_PANELS[panel][1])
    for panel, (x, y) in enumerate((("Optimizer step", ""), ("Training time (s)", _UNIT), ("Optimizer step", "ms"))):
        made.update_xaxes(title_text=x, row=_PANELS[panel][0], col=_PANELS[panel][1])
        made.update_yaxes(title_text=y, rangemode="tozero", row=_PANELS[panel][0], col=_PANELS[panel][1])
    made.update_xaxes(rangemode="tozero")
    made.update_xaxes(title_text="GiB", row=2, col=2)
    made.update_yaxes(type="category", autorange="reversed", row=2, col=2)
    made.update_layout(uirevision=watch.run_id, barmode="group")
    record = watch.as_record()
    row = tidy([record]).iloc[0]
    where = label(record.spec["backend"], record.spec["devices"])
    title = f"One run: {plain(row['model'])} on {plain(row['dataset'])}, {where}"
    return finished(_headed(made), title, caption([record], repeats=False, notes=_notes(watch)), 470)


def _headed(made: Any) -> Any:
    """Put each heading above the left end of its panel."""
    lefts = [made.layout[f"xaxis{n or ''}"].domain[0] for n in ("", 2, 3, 4)]
    headed(made)
    for note, left in zip(made.layout.annotations, lefts, strict=True):
        note.x = left
    return made


def _notes(watch: Watch) -> list[str]:
    if watch.status in (UNDER_WAY, "ok"):
        return []
    return [textwrap.shorten(plain(watch.outcome), 240, placeholder=" …")]


def live_parts(watch: Watch, use: Sequence[Use] = ()) -> tuple[list[tuple[int, dict[str, Any]]], list[str]]:
    """
    Return what `plot_live` draws, without drawing it: cheap enough for several times a second.

    Returns
    -------
    list of (int, dict)
        The panel and the properties of each trace.
    list of str
        The headings of the panels.
    """
    several = len(watch.step_times) > 1
    shown = _shown(watch)
    looks = {r: _look(watch, place, several) for place, r in enumerate(shown)}
    parts = [
        (LOSS, _loss(watch)),
        (LOSS, _tests(watch)),
        (RATE, _rates(watch)),
        *((STEP, _steps(watch.step_times.get(r, Thinned()), r, looks[r], several)) for r in shown),
        *((MEMORY, bars) for bars in _memory(watch, use)),
    ]
    return parts, [_loss_heading(watch), _rate_heading(watch), _step_heading(watch), _memory_heading(watch, use)]


def _shown(watch: Watch) -> list[int]:
    """Choose the ranks that are drawn."""
    ranks = sorted(watch.step_times) or [0]
    if len(ranks) <= MOST_RANKS:
        return ranks
    spaced = [ranks[k] for k in np.linspace(0, len(ranks) - 1, MOST_RANKS - 1).round().astype(int)]
    slowest = watch.straggler[0] if watch.straggler else ranks[0]
    return sorted({*spaced, slowest})


def _look(watch: Watch, place: int, several: bool) -> dict[str, Any]:
    shade = SHADES[place % len(SHADES)] if several else colour(watch.spec["backend"])
    return {"color": shade, "dash": LINES[place // len(SHADES)], "width": 1.5}


def _line(x: np.ndarray, y: np.ndarray, name: str, line: dict[str, Any], unit: str, **more: Any) -> dict[str, Any]:
    hover = {"hovertemplate": f"%{{x:,.6~g}}: %{{y:,.4~g}}{unit}"}
    return {"type": "scatter", "x": x, "y": y, "mode": "lines", "name": name, "line": line, **hover} | more


def mean_loss(losses: Sequence[Thinned]) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the mean of all devices' losses, as far as all have come.

    Returns
    -------
    numpy.ndarray
        The middle of each point's steps, of which the first is 1.
    numpy.ndarray
        Losses.

    Examples
    --------
    >>> one, two = Thinned(), Thinned()
    >>> one.add([4.0, 2.0]), two.add([2.0])
    (None, None)
    >>> [part.tolist() for part in mean_loss([one, two])]
    [[1.0], [3.0]]
    """
    if not losses:
        return np.empty(0), np.empty(0)
    stride = max(series.stride for series in losses)
    equal = [series.at_stride(stride) for series in losses]
    reached = min(len(series.means) for series in equal)
    return equal[0].steps[:reached], np.mean([series.means[:reached] for series in equal], axis=0)


def _loss(watch: Watch) -> dict[str, Any]:
    x, y = mean_loss([series.at_most(MOST_POINTS) for series in watch.losses.values()])
    line = {"color": colour(watch.spec["backend"]), "width": 2}
    return _line(x, y, "training loss", line, "", showlegend=False)


def _tests(watch: Watch) -> dict[str, Any]:
    points = [(step, loss) for step, loss, _ in watch.tests if np.isfinite(loss)]
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    marker = {"color": colour(watch.spec["backend"]), "size": 9, "symbol": "diamond-open", "line": {"width": 2}}
    made = _line(x, y, "test loss", {}, "", mode="markers", marker=marker, showlegend=False)
    del made["line"]
    return made


def _rates(watch: Watch) -> dict[str, Any]:
    x, y = watch.rates
    line = {"color": colour(watch.spec["backend"]), "width": 2}
    return _line(x, y, "throughput", line, f" {_UNIT}", mode="lines+markers", marker={"size": 3}, showlegend=False)


def _steps(series: Thinned, rank: int, line: dict[str, Any], several: bool) -> dict[str, Any]:
    few = series.at_most(MOST_POINTS)
    return _line(few.steps, 1e3 * few.means, f"rank {rank}", line, " ms", showlegend=several)


def _memory(watch: Watch, use: Sequence[Use]) -> list[dict[str, Any]]:
    """Return bars of host memory and, where there are GPUs, of theirs."""
    host, device = _bytes(watch, use)
    shade = colour(watch.spec["backend"])
    made = []
    for name, held, opacity in (("host memory", host, 0.35), ("GPU memory", device, 0.8)):
        ranks = sorted(sorted(held, key=lambda r: -held[r])[:MOST_RANKS])  # those with most, by number
        if held or name == "host memory":
            look = {"color": translucent(shade, opacity), "line": {"color": shade, "width": 1.5}}
            bars = {"x": [held[r] / _GIB for r in ranks], "y": [f"rank {r}" for r in ranks], "marker": look}
            hover = f"{name}: %{{x:.3~g}} GiB"
            made.append({"type": "bar", "orientation": "h", "name": name, "hovertemplate": hover, **bars})
            made[-1]["showlegend"] = bool(device)
    return made


def _bytes(watch: Watch, use: Sequence[Use]) -> tuple[dict[int, float], dict[int, float]]:
    if watch.record is None:
        return {u.rank: u.host_bytes for u in use}, {u.rank: u.gpu_bytes for u in use if u.gpu_bytes is not None}
    workers = [w for w in watch.record.workers if isinstance(w.get("rank"), int)]
    host, device = (
        {w["rank"]: w[n] for w in workers if isinstance(w.get(n), int | float) and 0 <= w[n] <= _MOST_BYTES}
        for n in ("peak_host_bytes", "peak_device_bytes")
    )
    return host, device


def _loss_heading(watch: Watch) -> str:
    if not watch.tests:
        return "Training loss, mean of devices" if len(watch.losses) > 1 else "Training loss"
    accuracy = watch.tests[-1][2]
    return "Training loss, ◇ test" + ("" if accuracy is None else f" (accuracy {accuracy:.3f})")


def _rate_heading(watch: Watch) -> str:
    if watch.slowest is None or not watch.step_times[watch.slowest].total:
        return "Throughput, higher is better"
    series = watch.step_times[watch.slowest]
    whole = series.count * watch.spec["global_batch"] / series.total
    if watch.record is not None:
        whole = watch.record.metrics.get("throughput", whole)
    return f"Throughput: {whole:,.0f} {_UNIT}"


def _step_heading(watch: Watch) -> str:
    if watch.straggler is not None:
        rank, times = watch.straggler
        return f"Step time: rank {rank} is {times:.2g} × the others"
    stride = max((t.at_most(MOST_POINTS).stride for t in watch.step_times.values()), default=1)
    mean = f", mean of {stride} steps" if stride > 1 else ""  # peaks of single steps are lower then
    return ("Step time by rank" if len(watch.step_times) > 1 else "Step time") + mean


def _memory_heading(watch: Watch, use: Sequence[Use]) -> str:
    known = bool(_bytes(watch, use)[0])
    if watch.record is not None:
        return "Peak memory by rank" if known else "Peak memory: not known"
    return "Memory by rank, now" if known else "Memory by rank: not known yet"
