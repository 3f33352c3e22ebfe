"""The GPUs of this machine and the links between them, asked through NVML and never through CUDA."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML describes it; `index` is NVML's, `compute_capability` such as "9.0"."""

    index: int
    name: str
    memory_bytes: int
    uuid: str
    driver: str
    compute_capability: str = ""
    power_limit_w: float | None = None


@dataclass(frozen=True)
class Link:
    """How GPUs `a` and `b` (NVML indices) reach each other: kind, and the number of NVLinks."""

    a: int
    b: int
    kind: str
    count: int = 0


def inspect_gpus() -> tuple[tuple[Gpu, ...], tuple[Link, ...], str]:
    """
    Ask NVML for the visible GPUs and the links between them.

    Returns
    -------
    gpus : tuple of Gpu
    links : tuple of Link
    note : str
        Why there is no GPU; empty where there is one.
    """
    try:
        nvml = _nvml()
    except ImportError:
        return (), (), "nvidia-ml-py is not installed, so GPUs cannot be looked for"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return (), (), f"no NVIDIA driver answers (NVML: {error})"
    try:
        driver = nvml.nvmlSystemGetDriverVersion()
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        every = [_gpu(nvml, i, handle, driver) for i, handle in enumerate(handles)]
        gpus = visible(every, os.environ.get("CUDA_VISIBLE_DEVICES"))
        links = tuple(_link(nvml, a.index, b.index, handles) for a in gpus for b in gpus if a.index < b.index)
    except nvml.NVMLError as error:
        return (), (), f"the NVIDIA driver answers, but its GPUs cannot be read (NVML: {error})"
    finally:
        nvml.nvmlShutdown()
    if gpus:
        return gpus, links, ""
    return (), (), f"CUDA_VISIBLE_DEVICES hides all {len(every)} GPUs" if every else "the driver has no GPU"


def visible(gpus: list[Gpu], setting: str | None) -> tuple[Gpu, ...]:
    """
    Select GPUs as ``CUDA_VISIBLE_DEVICES`` does: indices or UUIDs, up to the first that names no GPU.

    Parameters
    ----------
    gpus : list of Gpu
    setting : str or None
        The variable's value; None leaves all.

    Returns
    -------
    tuple of Gpu
        In the setting's order.
    """
    if setting is None:
        return tuple(gpus)
    chosen: list[Gpu] = []
    for entry in (e.strip() for e in setting.split(",")):
        match = [g for g in gpus if entry and (entry == str(g.index) or g.uuid.startswith(entry))]
        if len(match) != 1:
            break
        chosen += match
    return tuple(chosen)


def _nvml() -> ModuleType:
    import pynvml

    return pynvml


def _gpu(nvml: Any, index: int, handle: Any, driver: str) -> Gpu:
    try:
        power = nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000
    except nvml.NVMLError:
        power = None  # some boards have no power management
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    uuid = nvml.nvmlDeviceGetUUID(handle)
    return Gpu(index, nvml.nvmlDeviceGetName(handle), memory, uuid, driver, f"{major}.{minor}", power)


_PCIE_KINDS = {
    0: "same board",
    10: "PCIe switch",
    20: "PCIe switches",
    30: "PCIe host bridge",
    40: "NUMA node",
}


def _link(nvml: Any, a: int, b: int, handles: list[Any]) -> Link:
    """NVLink (direct or through a switch) where peers can use it, else the PCIe ancestor they share."""
    try:
        peers = nvml.nvmlDeviceGetP2PStatus(handles[a], handles[b], nvml.NVML_P2P_CAPS_INDEX_NVLINK)
        if peers == nvml.NVML_P2P_STATUS_OK:
            return Link(a, b, "NVLink", _nvlinks(nvml, handles[a]))
        return Link(
            a, b, _PCIE_KINDS.get(nvml.nvmlDeviceGetTopologyCommonAncestor(handles[a], handles[b]), "system")
        )
    except nvml.NVMLError:
        return Link(a, b, "unknown")


def _nvlinks(nvml: Any, handle: Any) -> int:
    """Count the active NVLinks of a GPU, whether they lead to a peer or to a switch."""
    active = 0
    for number in range(nvml.NVML_NVLINK_MAX_LINKS):
        try:
            active += nvml.nvmlDeviceGetNvLinkState(handle, number) == nvml.NVML_FEATURE_ENABLED
        except nvml.NVMLError:
            break  # this GPU has no link of that number
    return active
