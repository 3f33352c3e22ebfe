"""CPU cores as a picture: those that share a physical core in one frame, and whose they are; it knows no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from dcbench.figures._picture import DEVICE, FREE_TEXT, USED_TEXT, WIDE, fill, heading, owners_of, ranks
from dcbench.figures._theme import QUIET
from dcbench.hardware import Machine

if TYPE_CHECKING:
    from dcbench.launch.placement import Process

_LARGE_PX, _SMALL_PX, _MOST_LARGE_ROWS = 34, 16, 2


def add_cores(made: go.Figure, machine: Machine, processes: Sequence[Process]) -> float:
    """Draw the usable CPUs below the top of a picture, and return where they end."""
    groups = machine.core_groups or tuple((c,) for c in machine.cores)
    top = heading(made, 0, *_counted(machine, groups))
    size, columns = _fitting(groups)
    width, pitch = _width(groups, size), size + 12
    at = {
        cpu: ((k % columns) * width + 4 + (size + 2) * j + size / 2, top + (k // columns) * pitch + pitch / 2)
        for k, group in enumerate(groups)
        for j, cpu in enumerate(group)
    }
    for group in groups:
        (left, y), (right, _) = at[group[0]], at[group[-1]]
        box = {"x0": left - size / 2 - 3, "x1": right + size / 2 + 3, "y0": y - size / 2 - 3, "y1": y + size / 2 + 3}
        made.add_shape(type="rect", **box, line={"color": QUIET, "width": 1})
    _add_cpus(made, at, groups, size, owners_of(processes, "cpus"))
    return top + pitch * -(-len(groups) // columns)


def _counted(machine: Machine, groups: Sequence[Sequence[int]]) -> tuple[str, str]:
    cpus, cores = len(machine.cores), len(groups)
    said = [f"on {cores} physical core{'s' * (cores != 1)}" if cores < cpus else "each a physical core of its own"]
    if cores < cpus:
        said.append("those in one frame share a core's arithmetic units")
    if machine.installed_cores > cpus:
        limit = "its control group's limit" if machine.quota_cores is not None else "this process's affinity"
        said.append(f"{machine.installed_cores} are installed: {limit} leaves these")
    said = said[cpus == 1 :]  # of one CPU there is nothing to say about sharing
    return f"CPUs: {cpus}{',' * bool(said)}", "; ".join(said)


def _fitting(groups: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Return the size of a CPU's square and the frames of a row: large ones as long as they take few rows."""
    columns = WIDE // _width(groups, _LARGE_PX)
    if len(groups) <= columns * _MOST_LARGE_ROWS:
        return _LARGE_PX, columns
    columns = WIDE // _width(groups, _SMALL_PX)
    return _SMALL_PX, columns - columns % 8 or columns


def _width(groups: Sequence[Sequence[int]], size: int) -> int:
    return max(map(len, groups)) * (size + 2) + (10 if size == _LARGE_PX else 4)


def _add_cpus(
    made: go.Figure,
    at: dict[int, tuple[float, float]],
    groups: Sequence[Sequence[int]],
    size: int,
    owners: dict[int, list[int]],
) -> None:
    core_of = {cpu: k for k, group in enumerate(groups) for cpu in group}
    whose = {cpu: ranks(owners[cpu]) if cpu in owners else "" for cpu in at}
    large = size == _LARGE_PX
    text = [f"{c}<br><b>{r}</b>" if r and large else f"<b>{r}</b>" if r else str(c) for c, r in whose.items()]
    made.add_scatter(
        x=[x for x, _ in at.values()],
        y=[y for _, y in at.values()],
        mode="markers+text",
        marker={
            "symbol": "square",
            "size": size,
            "color": [fill(owners.get(c, ())) for c in at],
            "line": {"color": DEVICE, "width": 1},
            "opacity": 1,
        },
        text=text,
        textfont={"size": 10 if large else 8, "color": [USED_TEXT if r else FREE_TEXT for r in whose.values()]},
        hovertext=[f"CPU {c} on physical core {core_of[c]}{f', of {r}' * bool(r)}" for c, r in whose.items()],
        hoverinfo="text",
        name="CPUs",
    )
