"""What the processes of a run use of their machine at this moment: memory, cores, GPUs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from dcbench import gpus, hardware
from dcbench.errors import DcbenchError
from dcbench.launch import placement
from dcbench.spec import RunSpec

_PLACED_BY = ("backend", "devices", "device_type", "threads_per_device", "oversubscribe")


@dataclass(frozen=True)
class Use:
    """
    What one process uses.

    Attributes
    ----------
    rank : int
    host_bytes : int
        Resident memory (B); pages that it shares with others count.
    core_share : float
        CPU time over wall time since the last look, 1 for one core; NaN at the first.
    gpu_bytes : int or None
        Memory in use of its GPUs (B), by whatever process; None without a GPU.
    gpu_share : float or None
        Share of the driver's last sampling period in which its busiest GPU ran a kernel; None where none tells.
    """

    rank: int
    host_bytes: int
    core_share: float = math.nan
    gpu_bytes: int | None = None
    gpu_share: float | None = None


class Meter:
    """
    Looks at a run's processes, again and again.

    Parameters
    ----------
    spec : mapping
        As from ``RunSpec.to_dict``.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._gpus = _gpus_by_rank(spec)
        self._gauge = gpus.Gauge() if self._gpus else None
        self._processes: dict[int, psutil.Process] = {}
        self._seen: dict[int, tuple[float, float]] = {}

    def look(self, pids: Mapping[int, int]) -> list[Use]:
        """Return the use of each rank whose process lives, by rank."""
        asked = {g for rank in pids for g in self._gpus.get(rank, ())}
        state = self._gauge.look(asked) if self._gauge else {}
        return [use for rank, pid in sorted(pids.items()) if (use := self._one(rank, pid, state)) is not None]

    def _one(self, rank: int, pid: int, state: Mapping[int, tuple[int, float | None]]) -> Use | None:
        try:
            process = self._processes.get(pid) or psutil.Process(pid)
            self._processes[pid] = process
            with process.oneshot():
                memory, times = process.memory_info(), process.cpu_times()
        except psutil.Error:
            return None
        now, used_s = time.monotonic(), times.user + times.system
        before = self._seen.get(pid)
        self._seen[pid] = now, used_s
        share = (used_s - before[1]) / (now - before[0]) if before and now > before[0] else math.nan
        own = [state[g] for g in self._gpus.get(rank, ()) if g in state]
        if not own:
            return Use(rank, memory.rss, share)
        busy = max((s for _, s in own if s is not None), default=None)
        return Use(rank, memory.rss, share, sum(b for b, _ in own), busy)


def _gpus_by_rank(spec: Mapping[str, Any]) -> dict[int, tuple[int, ...]]:
    """Return which GPUs (NVML index) each rank was given, which follows from the machine and these few fields."""
    try:
        placed = placement.plan(RunSpec(**{n: spec[n] for n in _PLACED_BY if n in spec}), hardware.inspect_machine())
    except DcbenchError:
        return {}  # it was started with other devices visible, so whose are whose cannot be told
    return {p.rank: p.gpus for p in placed.processes if p.gpus}
