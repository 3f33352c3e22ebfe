"""How much of the machine others used while a run trained, from what each rank saw at the beginning of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHORTEST_S = 0.5  # the kernel counts in ticks of 10 ms: over less, they are no measure
MOST_OTHERS, MOST_STOLEN = 0.10, 0.02  # of the machine's cores; more is flagged
_BEGIN, _END = ("training", "warming up"), "checking"


@dataclass(frozen=True)
class Load:
    """What was not the run's own: cores that other processes used, and that the hypervisor withheld, of how many."""

    others: float
    stolen: float
    cores: int

    def flags(self) -> list[str]:
        """Say what a reader must know.

        Examples
        --------
        >>> Load(0.61, 0.03, 2).flags()
        ['others used 0.61 of 2 cores while it ran']
        """
        found = []
        if self.others > MOST_OTHERS * self.cores:
            found.append(f"others used {self.others:.2f} of {self.cores} cores while it ran")
        if self.stolen > MOST_STOLEN * self.cores:
            found.append(f"the hypervisor withheld {self.stolen:.2f} of {self.cores} cores while it ran")
        return found


def measure(ranks: Sequence[Mapping[str, Any]], cores: Sequence[int]) -> Load | None:
    """
    Find out what others used of a machine while a run trained.

    Parameters
    ----------
    ranks : sequence of mapping
        What each rank saw as each stage began: ``t_s`` (monotonic clock), ``own_s`` (its CPU time) and ``cpus`` (for
        each CPU's number, as text, its times as from `dcbench.hardware.cpu_times`).
    cores : sequence of int
        The machine's usable cores.

    Returns
    -------
    Load or None
        Over the time in which all ranks were in their timed blocks, or from their warm-up on where that is shorter than
        ``SHORTEST_S``. None where even that is too short, or the kernel does not count.

    Notes
    -----
    others = (CPU time of all processes on the cores - CPU time of the ranks) / wall time, from the last rank's begin
    to the first one's end: a rank that has ended goes on to check and evaluate. Of a rank whose block is longer, the
    CPU time in proportion counts. The process that started
    the run is one of the others, since it takes time from the ranks as they do: it polls, which takes next to nothing,
    but a notebook may draw.

    Examples
    --------
    >>> def seen(t_s, own_s, busy_s): return {"t_s": t_s, "own_s": own_s, "cpus": {"0": (busy_s, 0.0)}}
    >>> measure([{"training": seen(10, 1, 100), "checking": seen(12, 2.5, 102)}], cores=[0])
    Load(others=0.25, stolen=0.0, cores=1)
    """
    for begin in _BEGIN:
        if not all(begin in stages and _END in stages for stages in ranks):
            return None
        first = max((stages[begin] for stages in ranks), key=lambda seen: seen["t_s"])
        last = min((stages[_END] for stages in ranks), key=lambda seen: seen["t_s"])
        wall_s = last["t_s"] - first["t_s"]
        if wall_s >= SHORTEST_S:
            break
    else:
        return None
    own_s = wall_s * sum(_rate(stages[begin], stages[_END]) for stages in ranks)
    counted = [c for c in map(str, cores) if c in first["cpus"] and c in last["cpus"]]
    busy_s, stolen_s = (sum(last["cpus"][c][i] - first["cpus"][c][i] for c in counted) for i in (0, 1))
    if len(counted) < len(cores) or busy_s < own_s / 2:  # some sandboxes show clocks that stand still
        return None
    return Load(max(0.0, busy_s - own_s) / wall_s, stolen_s / wall_s, len(cores))


def _rate(first: Mapping[str, Any], last: Mapping[str, Any]) -> float:
    """Return the cores that a process used between two looks."""
    return float((last["own_s"] - first["own_s"]) / (last["t_s"] - first["t_s"]))
