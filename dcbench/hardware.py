"""What this machine has: the cores and memory that a process may use, its GPUs, its load.

It knows nothing of runs, and it starts nothing on a device.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import platform
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from dcbench import redaction
from dcbench.gpus import Gpu, Link, inspect_gpus

# the settings that change how a run performs, beside those that begin with one of RECORDED_PREFIXES and name no
# secret; everything else of the environment stays private
RECORDED_PREFIXES = ("HOROVOD_", "NCCL_")
RECORDED_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "KMP_AFFINITY", "KMP_BLOCKTIME", "LD_PRELOAD", "MALLOC_ARENA_MAX",
    "OMP_NUM_THREADS", "OMP_PROC_BIND", "OPENBLAS_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR", "TF_GPU_THREAD_COUNT", "TF_GPU_THREAD_MODE", "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_XLA_FLAGS", "XLA_FLAGS",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """
    The machine as this process may use it.

    Attributes
    ----------
    host, os, cpu_model : str
    cores : tuple of int
        Ids of the usable CPUs: affinity, cut to the control group's quota; one of each physical core first.
    physical_cores : int
        Physical cores behind `cores`; fewer than ``len(cores)`` where CPUs share a core.
    quota_cores : float or None
        CPU time that the control group allows (cores); None where it sets no limit.
    memory_bytes : int
        Installed memory, or the control group's limit where that is less.
    gpus : tuple of Gpu
        The GPUs that ``CUDA_VISIBLE_DEVICES`` leaves visible; `gpu_note` says why there are none.
    links : tuple of Link
        One for each pair of GPUs.
    load_1min : float
        Load average of the last minute when it was asked.
    environment : dict
        The recorded settings of the environment (an allow-list).
    core_groups : tuple of tuple of int
        `cores` by physical core, those that share one in one group; empty where an older record does not say.
    installed_cores, installed_memory_bytes : int
        What the machine has, whether or not this process may use it; 0 where an older record does not say.
    """

    host: str
    os: str
    cpu_model: str
    cores: tuple[int, ...]
    physical_cores: int
    quota_cores: float | None
    memory_bytes: int
    gpus: tuple[Gpu, ...]
    gpu_note: str
    links: tuple[Link, ...]
    load_1min: float
    environment: dict[str, str]
    core_groups: tuple[tuple[int, ...], ...] = ()
    installed_cores: int = 0
    installed_memory_bytes: int = 0

    @property
    def name(self) -> str:
        """Short label, such as "2 × AMD EPYC cores" or "4 × NVIDIA H100"."""
        if self.gpus:
            kinds = sorted({g.name for g in self.gpus})
            return " + ".join(f"{sum(g.name == kind for g in self.gpus)} × {kind}" for kind in kinds)
        return f"{len(self.cores)} × {self.cpu_model} core{'s' if len(self.cores) > 1 else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Return all facts and the short label as JSON values."""
        return json.loads(json.dumps({"name": self.name, **dataclasses.asdict(self)}))


def inspect_machine() -> Machine:
    """
    Find out what this process may use of its machine, in some ten milliseconds.

    Returns
    -------
    Machine

    Examples
    --------
    >>> machine = inspect_machine()
    >>> len(machine.cores) >= 1 and machine.memory_bytes > 0
    True
    """
    quota = cpu_quota()
    cores = usable_cores(quota)
    groups = grouped(cores)
    gpus, links, note = inspect_gpus()
    return Machine(
        host=socket.gethostname(),
        os=_os_name(),
        cpu_model=cpu_model(),
        cores=cores,
        physical_cores=len(groups),
        quota_cores=quota,
        memory_bytes=usable_memory_bytes(),
        gpus=gpus,
        gpu_note=note,
        links=links,
        load_1min=os.getloadavg()[0],
        environment={n: redaction.masked_text(v) for n, v in sorted(os.environ.items()) if _is_recorded(n)},
        core_groups=groups,
        installed_cores=os.cpu_count() or len(cores),
        installed_memory_bytes=psutil.virtual_memory().total,
    )


def _is_recorded(name: str) -> bool:
    return name in RECORDED_VARIABLES or (name.startswith(RECORDED_PREFIXES) and not redaction.is_secret(name))


def usable_cores(quota: float | None, root: Path = Path("/")) -> tuple[int, ...]:
    """
    List the CPUs of this process, cut to its quota of CPU time (rounded down, at least one).

    Parameters
    ----------
    quota : float or None
        CPU time allowed (cores).
    root : Path
        Where ``sys`` is found.

    Returns
    -------
    tuple of int
        One CPU of each physical core first, then the CPUs that share a core with those.
    """
    allowed = (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )
    groups = [_siblings(c, root) for c in allowed]
    first = [c for i, c in enumerate(allowed) if groups[i] not in groups[:i]]
    ordered = first + [c for c in allowed if c not in first]
    return tuple(ordered if quota is None else ordered[: max(1, int(quota))])


def grouped(cores: Iterable[int], root: Path = Path("/")) -> tuple[tuple[int, ...], ...]:
    """Return CPUs by the physical core that they share, in order of their ids."""
    groups: dict[str, list[int]] = {}
    for core in sorted(cores):
        groups.setdefault(_siblings(core, root), []).append(core)
    return tuple(map(tuple, groups.values()))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the CPU time that the control groups (version 1 or 2) allow (cores), or None for no limit."""
    found = []
    for folder in _control_groups("cpu", root):
        if limit := _read(folder / "cpu.max").split():
            quota, period = limit[0], limit[1]
        else:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            found.append(int(quota) / int(period))
    return min(found, default=None)


def cpu_times(root: Path = Path("/")) -> dict[int, tuple[float, float]]:
    """
    Return how long each CPU has worked for processes, and how long the hypervisor withheld it, since boot (s).

    Returns
    -------
    dict of int to (float, float)
        Time of user, nice and system by CPU, in ticks of usually 10 ms; interrupts belong to nobody and are left out.
        Empty where the kernel does not tell (``/proc/stat``, proc(5)).
    """
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    found = {}
    for cpu, times in re.findall(r"^cpu(\d+) ([\d ]+)$", _read(root / "proc/stat"), re.MULTILINE):
        user, nice, system, _, _, _, _, steal, *_ = [int(t) / ticks_per_s for t in times.split()] + [0.0] * 8
        found[int(cpu)] = (user + nice + system, steal)
    return found


def usable_memory_bytes(root: Path = Path("/")) -> int:
    """Return the installed memory (bytes), or the control groups' limit where that is less."""
    return min(psutil.virtual_memory().total, memory_limit_bytes(root) or 2**63)


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory (bytes) that the control groups allow, or None for no limit."""
    limits = [
        int(text)
        for folder in _control_groups("memory", root)
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _read(folder / name)).isdigit()
    ]
    return min(limits, default=None)


def peak_address_bytes(root: Path = Path("/")) -> int | None:
    """Return the largest address space (bytes) that this process has had, or None where the kernel does not tell."""
    found = re.search(r"^VmPeak:\s*(\d+) kB$", _read(root / "proc/self/status"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def oom_kills(root: Path = Path("/")) -> int | None:
    """Count the processes that the kernel has ended as memory ran out, in this control group or else on this machine.

    Returns
    -------
    int or None
        None where the kernel does not tell.
    """
    files = [f / n for f in _control_groups("memory", root) for n in ("memory.events", "memory.oom_control")]
    counts = (re.search(r"^oom_kill (\d+)$", _read(path), re.MULTILINE) for path in [*files, root / "proc/vmstat"])
    return next((int(found[1]) for found in counts if found), None)


def _control_groups(controller: str, root: Path) -> list[Path]:
    """List the folders of this process's group and of all groups above it; a limit of any of them holds."""
    folders: list[Path] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for name in {controllers, controllers and controller}:  # one is often a link to the other
            base = root / "sys/fs/cgroup" / name
            group = base / path.lstrip("/")
            folders += [f for f in (group, *group.parents) if f == base or base in f.parents]
    return folders


def cpu_model(root: Path = Path("/")) -> str:
    """Return the processor's name without trade marks and clock rates."""
    match = re.search(
        r"^(?:model name|Hardware|cpu model)\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE
    )
    name = match[1] if match else platform.processor() or platform.machine()
    return " ".join(re.sub(r"\((R|TM|tm|r)\)|@.*$|\bCPU\b|\bProcessor\b|\b\d+-Core\b", " ", name).split())


@functools.cache
def _siblings(core: int, root: Path = Path("/")) -> str:
    """Return the CPUs that share a physical core, as the kernel lists them; the CPU itself where unknown."""
    return _read(root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list") or str(core)


def _os_name() -> str:
    release = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read(Path("/etc/os-release")), re.MULTILINE)
    return f"{release[1] if release else platform.system()}, kernel {platform.release()}"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""  # absent: this system keeps the fact elsewhere, or has no such limit
