"""This machine as a picture: cores, GPUs and their links, memory, transports, and what each process of a run gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from dcbench.figures._cores import add_cores
from dcbench.figures._picture import DEVICE, FREE_TEXT, USED_TEXT, WIDE, fill, heading, owners_of, ranks
from dcbench.figures._style import Figure, finished, plain
from dcbench.figures._theme import QUIET, TEXT, translucent
from dcbench.gpus import Link
from dcbench.hardware import Machine

if TYPE_CHECKING:
    from dcbench.launch.placement import Placement, Process

_TRANSPORTS = {"gloo": ("Gloo", "CPU cores, every build"), "mpi": ("MPI", "CPU cores"), "nccl": ("NCCL", "GPUs")}
_NEAREST = (
    "NVLink",
    "same board",
    "PCIe switch",
    "PCIe switches",
    "PCIe host bridge",
    "NUMA node",
    "system",
    "unknown",
)
_LOOKS = (
    (DEVICE, 2.5, "solid"), (TEXT, 2, "solid"), (TEXT, 2, "solid"), (TEXT, 1.5, "dash"), (QUIET, 1.5, "solid"),
    (QUIET, 1.5, "dash"), (QUIET, 1, "dot"), (QUIET, 1, "dot"),
)  # fmt: skip
_IN_WORDS = {"NUMA node": "across PCIe bridges", "system": "across CPU sockets"}  # NVML's names for paths
_MANY_LINKS = 40  # are drawn thin
_GIB = 2**30


def plot_machine(
    machine: Machine, transports: Mapping[str, bool] | None = None, placement: Placement | None = None
) -> Figure:
    """
    Draw what a machine offers a run, and, with a placement, which of it each process gets.

    Parameters
    ----------
    machine : Machine
        As from `dcbench.inspect_machine`.
    transports : mapping of str to bool, optional
        Whether Horovod was built with ``"gloo"``, ``"mpi"`` and ``"nccl"``, as from `dcbench.doctor.horovod_build`.
    placement : Placement, optional
        As from `dcbench.launch.plan`; what is the same for all processes is then left out.

    Notes
    -----
    CPUs in one frame share a physical core. Memory is in GiB of 2^30 bytes, as makers of GPUs count it.
    """
    processes = placement.processes if placement else ()
    made = go.Figure()
    down = add_cores(made, machine, processes)
    if placement is None:
        down = _add_memory(made, machine, down + 22)
    if machine.gpus or placement is None:
        down = _add_gpus(made, machine, processes, down + 22)
    if transports is not None:
        down = _add_transports(made, transports, down + 22)
    made.update_xaxes(visible=False, range=[-1, WIDE + 5], fixedrange=True)
    made.update_yaxes(visible=False, range=[down, 0], fixedrange=True)
    made.update_layout(showlegend=False)
    title = f"{plain(machine.name)}: what each process gets" if placement else f"This machine: {plain(machine.name)}"
    drawn = finished(made, title, _under(machine, placement), int(down) + 10)
    return Figure(drawn.update_layout(margin={"l": 12, "r": 12, "b": 10}))


def _under(machine: Machine, placement: Placement | None) -> str:
    first = f"{plain(machine.cpu_model)} · {plain(machine.os)} · load of the last minute {machine.load_1min:.1f}"
    if placement is None:
        return first
    several = len(placement.processes) > 1
    ranks = "r0, r1, … are the ranks of the processes" if several else "r0 is the one process"
    shared = f" · shared: {placement.oversubscribed}" if placement.oversubscribed else ""
    return f"{first}<br>filled: in use; {ranks} · {_devices(placement)}{shared}"


def _devices(placement: Placement) -> str:
    """Say how many devices there are and what each is."""
    one = placement.processes[0]
    count, cores = sum(p.devices for p in placement.processes), max(1, len(one.cpus) // one.devices)
    what = "a GPU" if placement.device_type == "gpu" else f"{cores} CPU core{'s' * (cores != 1)}"
    return f"{count} devices, each {what}" if count != 1 else f"1 device: {what}"


def _add_memory(made: go.Figure, machine: Machine, down: float) -> float:
    usable, installed = machine.memory_bytes, max(machine.installed_memory_bytes, machine.memory_bytes)
    shown = f"{usable / _GIB:,.{0 if usable > 99 * _GIB else 1}f} GiB"
    more = "usable, all that is installed"
    if usable < installed:
        more = f"usable of {installed / _GIB:,.0f} GiB installed: a limit is set for this process's control group"
    top = heading(made, down, f"Memory: {shown}", more)
    box = {"type": "rect", "y0": top, "y1": top + 16, "x0": 0}
    made.add_shape(**box, x1=WIDE, line={"color": QUIET, "width": 1})
    made.add_shape(**box, x1=WIDE * usable / installed, line={"width": 0}, fillcolor=translucent(DEVICE, 0.35))
    return top + 16


def _add_gpus(made: go.Figure, machine: Machine, processes: Sequence[Process], down: float) -> float:
    if not machine.gpus:
        top = heading(made, down, "GPUs: none,", "so CPU cores are the devices")
        return heading(made, top - 8, "", f"<span style='font-size:10px'>{plain(machine.gpu_note)}</span>") - 8
    count = len(machine.gpus)
    top = heading(made, down, f"GPUs: {count}", "" if count == 1 else "and the links between them")
    place, size, height = _places(count)
    at = {gpu.index: (x, top + y) for gpu, (x, y) in zip(machine.gpus, place, strict=True)}
    _add_links(made, machine.links, at, top)
    owners = owners_of(processes, "gpus")
    used = [g.index in owners for g in machine.gpus]
    made.add_scatter(
        x=[at[g.index][0] for g in machine.gpus],
        y=[at[g.index][1] for g in machine.gpus],
        mode="markers+text",
        marker={
            "symbol": "square", "size": size, "line": {"color": DEVICE, "width": 1.5}, "opacity": 1,
            "color": [fill(owners.get(g.index, ())) for g in machine.gpus],
        },
        text=[_gpu_text(g.index, g.memory_bytes, owners.get(g.index, ())) for g in machine.gpus],
        textfont={"size": 10 if size > 46 else 9, "color": [USED_TEXT if u else FREE_TEXT for u in used]},
        hovertext=[f"GPU {g.index}: {plain(g.name)}, {g.memory_bytes / _GIB:.0f} GiB" for g in machine.gpus],
        hoverinfo="text",
    )  # fmt: skip
    return top + height


def _gpu_text(index: int, memory_bytes: int, owners: Sequence[int]) -> str:
    owned = f"<br><b>{ranks(owners)}</b>" if owners else ""
    return f"GPU {index}<br>{memory_bytes / _GIB:.0f} GiB{owned}"


def _places(count: int) -> tuple[np.ndarray, float, float]:
    """Return the middle of each GPU, the size of one, and the height of all: a ring, where no link hides another."""
    if count < 3:
        return np.array([[31.0 + 180 * k, 31.0] for k in range(count)]), 58, 62
    size = 54 if count <= 8 else 44
    high = max(60.0, (size + 14) / (2 * np.sin(np.pi / count)))  # neighbours at the sides do not touch
    wide = min(2 * high, 195.0)
    angle = 2 * np.pi * (np.arange(count) + 0.5) / count - np.pi / 2
    ring = np.column_stack([wide * (1 + np.cos(angle)), high * (1 + np.sin(angle))])
    return ring + size / 2 + 2, size, 2 * high + size + 4


def _add_links(made: go.Figure, links: Sequence[Link], at: Mapping[int, Any], top: float) -> None:
    """Draw the links, the nearest kind over the others, and name each kind beside the ring."""
    kinds = sorted({(k.kind, k.count) for k in links}, key=lambda k: (_nearness(k[0]), -k[1]))
    right = max(x for x, _ in at.values()) + 46
    thin = 0.5 if len(links) > _MANY_LINKS else 1
    for row, (kind, count) in reversed(list(enumerate(kinds))):
        own = [(at[k.a], at[k.b]) for k in links if (k.kind, k.count) == (kind, count)]
        shade, width, dash = _LOOKS[_nearness(kind)]
        key = top + 18 + 38 * row
        name = f"{plain(kind)} × {count}" if count else _IN_WORDS.get(kind, plain(kind))
        lines = [((right, key), (right + 36, key)), *own]
        made.add_scatter(
            x=[v for (a, _), (b, _) in lines for v in (a, b, None)],
            y=[v for (_, a), (_, b) in lines for v in (a, b, None)],
            mode="lines", line={"color": shade, "width": width * thin, "dash": dash}, name=name, hoverinfo="skip",
        )  # fmt: skip
        said = f"{name}<br>{len(own)} pair{'s' * (len(own) != 1)}"
        made.add_annotation(x=right + 42, y=key, xanchor="left", align="left", text=said, showarrow=False)


def _nearness(kind: str) -> int:
    return _NEAREST.index(kind) if kind in _NEAREST else len(_NEAREST) - 1


def _add_transports(made: go.Figure, built: Mapping[str, bool], down: float) -> float:
    top = heading(made, down, "Horovod", "was built with")
    for place, (name, (said, where)) in enumerate(_TRANSPORTS.items()):
        has = bool(built.get(name))
        left = 210 * place
        made.add_shape(
            type="rect", x0=left, x1=left + 200, y0=top, y1=top + 40,
            line={"color": DEVICE if has else QUIET, "width": 1.5, "dash": "solid" if has else "dot"},
            fillcolor=translucent(DEVICE, 0.15 if has else 0),
        )  # fmt: skip
        text = f"<b>{said}</b>: {'yes' if has else 'no'}<br><span style='font-size:10px'>between {where}</span>"
        made.add_annotation(x=left + 100, y=top + 20, text=text, showarrow=False)
    return top + 42
