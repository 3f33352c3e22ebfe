"""Which process gets which cores and GPUs; it looks at a spec and a machine and starts nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcbench import registry
from dcbench.errors import BackendUnavailable, SpecError
from dcbench.spec import RunSpec

if TYPE_CHECKING:
    from dcbench.hardware import Machine


@dataclass(frozen=True)
class Process:
    """One process: its rank, host, number of devices, the CPUs it is pinned to, and its GPUs (NVML index, UUID)."""

    rank: int
    host: str
    devices: int
    cpus: tuple[int, ...]
    gpus: tuple[int, ...] = ()
    gpu_uuids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placement:
    """
    Where the processes of a run are.

    Attributes
    ----------
    processes : tuple of Process
        By rank.
    device_type : {"cpu", "gpu"}
    oversubscribed : str
        What is shared by several devices, as a sentence; empty where nothing is.
    """

    processes: tuple[Process, ...]
    device_type: str
    oversubscribed: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values for a record."""
        about: dict[str, Any] = {
            "device_type": self.device_type,
            "oversubscribed": bool(self.oversubscribed),
            "processes": [dataclasses.asdict(p) for p in self.processes],
        }
        if any(p.devices > 1 for p in self.processes) and self.device_type == "cpu":
            about["note"] = "one process holds all devices and is pinned to the union of their cores"
        return about


def plan(spec: RunSpec, machine: Machine) -> Placement:
    """
    Give each process of a run its own cores and GPUs, in equal shares.

    Parameters
    ----------
    spec : RunSpec
    machine : Machine
        Its `cores` and `gpus` are what may be used.

    Returns
    -------
    Placement

    Raises
    ------
    BackendUnavailable
        If GPUs are asked for and there are none.
    SpecError
        If there are too few devices and oversubscription is not allowed.
    """
    if spec.device_type == "gpu" and not machine.gpus:
        raise BackendUnavailable(
            f"device_type='gpu' asks for {_count(spec.devices, 'GPU')}; this machine has none "
            f"({machine.gpu_note}); use device_type='cpu'"
        )
    use_gpus = bool(machine.gpus) and spec.device_type != "cpu"
    return _on_gpus(spec, machine) if use_gpus else _on_cores(spec, machine)


def _on_cores(spec: RunSpec, machine: Machine) -> Placement:
    cores, threads = machine.cores, spec.threads_per_device
    wanted = spec.devices * threads
    shared = ""
    if wanted > len(cores):
        of = f" of {threads} cores each" if threads > 1 else ""
        shared = f"{_count(spec.devices, 'device')}{of} on {_count(len(cores), 'CPU core')}"
        if not spec.oversubscribe:
            raise SpecError(
                f"backend {spec.backend!r} asks for {_count(spec.devices, 'device')}{of}; this machine has "
                f"{len(cores)} (CPU cores {_listed(cores)}); lower devices{' or threads_per_device' * (threads > 1)} "
                "or allow oversubscription"
            )
    sets = [[cores[(d * threads + i) % len(cores)] for i in range(threads)] for d in range(spec.devices)]
    processes = [
        Process(rank, machine.host, len(devices), tuple(dict.fromkeys(c for d in devices for c in sets[d])))
        for rank, devices in enumerate(_split(spec))
    ]
    return Placement(tuple(processes), "cpu", shared)


def _on_gpus(spec: RunSpec, machine: Machine) -> Placement:
    gpus, shared = machine.gpus, ""
    if spec.devices > len(gpus):
        shared = f"{_count(spec.devices, 'device')} on {_count(len(gpus), 'GPU')}"
        can_share = spec.backend == "independent"  # one process takes a GPU once, and so does NCCL
        if not (can_share and spec.oversubscribe):
            listed = ", ".join(f"{g.index}: {g.name}" for g in gpus)
            advice = "lower devices or allow oversubscription" if can_share else "lower devices"
            raise SpecError(
                f"backend {spec.backend!r} asks for {_count(spec.devices, 'device')}; this machine has {len(gpus)} "
                f"(GPUs {listed}); {advice}, or use device_type='cpu'"
            )
    groups = _split(spec)
    processes = []
    for rank, (devices, cpus) in enumerate(zip(groups, _shares(machine, len(groups)), strict=True)):
        own = [gpus[d % len(gpus)] for d in devices]
        uuids = tuple(g.uuid for g in own)
        processes.append(Process(rank, machine.host, len(devices), cpus, tuple(g.index for g in own), uuids))
    return Placement(tuple(processes), "gpu", shared)


def _shares(machine: Machine, count: int) -> list[tuple[int, ...]]:
    """Deal the cores in `count` equal shares: whole physical cores while there are enough, so that no two share one."""
    whole = machine.core_groups or tuple((core,) for core in machine.cores)
    units = whole if len(whole) >= count else tuple((core,) for core in machine.cores)
    share = max(1, len(units) // count)
    taken = [[units[(rank * share + i) % len(units)] for i in range(share)] for rank in range(count)]
    return [tuple(core for unit in units for core in unit) for units in taken]


def _split(spec: RunSpec) -> list[list[int]]:
    """List the devices of each process."""
    devices = list(range(spec.devices))
    return [[d] for d in devices] if registry.says("backend", spec.backend, "ONE_PROCESS_A_DEVICE") else [devices]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"


def _listed(cores: tuple[int, ...]) -> str:
    return ", ".join(map(str, cores[:16])) + (", …" if len(cores) > 16 else "")
