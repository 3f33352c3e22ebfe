"""One training step under Horovod: how long each rank computes and waits, and what happens to each gradient."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dcbench.errors import SpecError
from dcbench.figures._style import Figure, caption, finished, rounded
from dcbench.figures._theme import COLOURS, QUIET, TEXT, translucent
from dcbench.record import Record
from dcbench.timeline import NEGOTIATION, Timeline

MOST_GRADIENTS, MOST_RANKS = 8, 8
COMPUTE, WAIT, EXCHANGE = "compute", "wait for the slowest rank", "exchange gradients"
NEGOTIATE, COPY, REDUCE, QUEUE = "agree that all have it", "copy to or from the buffer", "all-reduce", "queue, other"
_ORANGE, _PURPLE = COLOURS["horovod"], "#4B00D1"
_SHADES = {
    COMPUTE: QUIET,
    WAIT: translucent(QUIET, 0.3),
    EXCHANGE: translucent(_ORANGE, 0.55),
    NEGOTIATE: translucent(_PURPLE, 0.2),
    QUEUE: translucent(_ORANGE, 0.2),
    COPY: _PURPLE,
    REDUCE: _ORANGE,
}
_ROW_PX = 30
_NO_RANKS = "the timeline does not say when ranks were ready; record it with the knob HOROVOD_CACHE_CAPACITY=0"


def typical_step(timeline: Timeline) -> int:
    """
    Return the step (from 0) whose duration is the median one.

    Raises
    ------
    SpecError
        If the timeline does not say when ranks were ready.
    """
    whole = timeline.steps().groupby("step").first()
    if whole.empty:
        raise SpecError(_NO_RANKS)
    lasted = (whole["end_s"] - whole["start_s"]).sort_values(kind="stable")
    return int(lasted.index[(len(lasted) - 1) // 2])


def plot_timeline(timeline: Timeline, step: int | None = None, record: Record | None = None) -> Figure:
    """
    Draw one step: above what each rank does, below what happens to each gradient.

    Parameters
    ----------
    timeline : Timeline
        As from `dcbench.timeline.read_timeline`.
    step : int, optional
        Counted from 0, warm-up included; unless given, the one of median duration.
    record : Record, optional
        The run, for the line that names the machine.

    Raises
    ------
    SpecError
        If there is no such step, or if the timeline does not say when ranks were ready.

    Notes
    -----
    Times are rank 0's: another rank counts as ready when its message arrives. "Compute" is all between two exchanges:
    the update of the weights, forward and backward pass, and reading data.
    """
    chosen = typical_step(timeline) if step is None else step
    ranks = timeline.steps().query("step == @chosen")
    if ranks.empty:
        known = timeline.steps()["step"]
        raise SpecError(
            _NO_RANKS if known.empty else f"step={step} is not in the timeline; choose {known.min()} to {known.max()}"
        )
    zero, left = ranks["start_s"].iloc[0], max(0, len(ranks) - MOST_RANKS)
    slowest = ranks.nlargest(MOST_RANKS, "ready_s").sort_values("rank")
    bars = [*_of_ranks(slowest), *_of_gradients(timeline, chosen)]
    rows = list(dict.fromkeys(row for row, *_ in bars))
    made = go.Figure()
    _add_bars(made, [(row, part, since - zero, until - zero) for row, part, since, until in bars])
    made.add_hline(y=len(slowest) - 0.5, line={"color": TEXT, "width": 1, "dash": "dot"})
    made.update_xaxes(title_text="Time since the end of the exchange before (ms)")
    made.update_yaxes(type="category", range=[len(rows) - 0.5, -0.5], categoryorder="array", categoryarray=rows)
    made.update_layout(barmode="overlay", bargap=0.25)
    notes = [f"{left} faster ranks are left out"] * bool(left) + _notes(timeline)
    under = caption([record], repeats=False, notes=notes) if record else "<br>".join(notes)
    title = f"Step {chosen}: {1e3 * (ranks['end_s'].iloc[0] - zero):.3g} ms by rank and by gradient"
    return finished(made, title, under, 90 + _ROW_PX * len(rows))


def _of_ranks(ranks: pd.DataFrame) -> list[tuple[str, str, float, float]]:
    """Return a row, a part, its start and its end (s) for each thing that a rank does."""
    bars = []
    for r in ranks.itertuples():
        row = f"rank {r.rank}"
        bars.append((row, COMPUTE, r.start_s, r.ready_s))
        bars.append((row, WAIT, r.ready_s, r.all_ready_s))
        bars.append((row, EXCHANGE, r.all_ready_s, r.end_s))
    return bars


def _of_gradients(timeline: Timeline, step: int) -> list[tuple[str, str, float, float]]:
    """Return the same for the largest gradients."""
    largest = timeline.tensors.nlargest(MOST_GRADIENTS, "bytes").sort_index()
    phases, bars = timeline.phases.query("step == @step"), []
    for tensor, about in largest.iterrows():
        shape = " × ".join(map(str, about["shape"])) or "1"
        row = f"gradient {timeline.tensors.index.get_loc(tensor) + 1}: {shape}"
        own = phases[phases["tensor"] == tensor].sort_values(["start_s", "end_s"], ascending=[True, False])
        bars += [(row, _part(p.phase), p.start_s, p.end_s) for p in own.itertuples()]  # the whole one below its phases
    return bars


def _part(phase: str) -> str:
    if phase == NEGOTIATION:
        return NEGOTIATE
    if "MEMCPY" in phase:
        return COPY
    return REDUCE if phase.startswith(("GLOO_", "MPI_", "NCCL_", "CCL_")) else QUEUE


def _notes(timeline: Timeline) -> list[str]:
    shown, count = min(MOST_GRADIENTS, len(timeline.tensors)), len(timeline.tensors)
    largest = f"the {shown} largest of {count} gradients" if shown < count else f"all {count} gradients"
    return [f"{largest}, {timeline.bytes_per_step / 1e3:,.1f} kB in all · times as rank 0 sees them"]


def _add_bars(made: go.Figure, bars: list[tuple[str, str, float, float]]) -> None:
    for part in [p for p in _SHADES if any(p == bar[1] for bar in bars)]:  # in the order of drawing
        own = [bar for bar in bars if bar[1] == part]
        made.add_bar(
            x=rounded([1e3 * (until - since) for *_, since, until in own]),
            base=rounded([1e3 * since for *_, since, _ in own]),
            y=[row for row, *_ in own],
            orientation="h",
            marker={"color": _SHADES[part], "line": {"width": 0}},
            name=part,
            hovertemplate=f"{part}: %{{x:.3g}} ms",
        )
