"""The GPUs of this machine and the links between them, asked through NVML and never through CUDA."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dcbench.errors import BackendUnavailable

HIDE_ALL = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES that name no GPU on purpose


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

    Raises
    ------
    BackendUnavailable
        If ``CUDA_VISIBLE_DEVICES`` names GPUs that cannot be told.
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


class Gauge:
    """What GPUs are doing, asked again and again: NVML is opened once, and closed with the gauge."""

    def __init__(self) -> None:
        self._nvml: Any = None
        try:
            nvml = _nvml()
        except ImportError:
            return
        try:
            nvml.nvmlInit()
        except nvml.NVMLError:
            return
        self._nvml = nvml
        weakref.finalize(self, nvml.nvmlShutdown)

    def look(self, indices: Iterable[int]) -> dict[int, tuple[int, float | None]]:
        """
        Ask NVML what GPUs are doing at this moment.

        Parameters
        ----------
        indices : iterable of int
            As NVML counts.

        Returns
        -------
        dict of int to (int, float or None)
            Memory in use (B), by whatever process, and the share of the driver's last sampling period in which a kernel
            ran; None where the GPU does not tell, as in parts of one. A GPU that does not answer is left out.
        """
        found: dict[int, tuple[int, float | None]] = {}
        for index in indices if self._nvml else ():
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                found[index] = int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used), self._busy(handle)
            except self._nvml.NVMLError:
                continue
        return found

    def _busy(self, handle: Any) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
        except self._nvml.NVMLError:
            return None


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

    Raises
    ------
    BackendUnavailable
        If it names no GPU of these, or counts GPUs of different kinds in CUDA's own order.
    """
    if setting is None or not gpus:
        return tuple(gpus)
    entries = [e.strip() for e in setting.split(",")]
    asked = f"CUDA_VISIBLE_DEVICES={setting!r}"
    kinds, order = {g.name for g in gpus}, os.environ.get("CUDA_DEVICE_ORDER")
    if entries[0].isdigit() and len(kinds) > 1 and order != "PCI_BUS_ID":
        raise BackendUnavailable(
            f"{asked} counts GPUs by speed, and this machine has {len(kinds)} kinds ({', '.join(sorted(kinds))}); "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPUs by UUID"
        )
    chosen: list[Gpu] = []
    for entry in entries:
        match = [g for g in gpus if entry and (entry == str(g.index) or g.uuid.startswith(entry))]
        if len(match) != 1:
            break
        chosen += match
    if not chosen and entries[0] not in HIDE_ALL:
        listed = ", ".join(f"{g.index}: {g.uuid}" for g in gpus)
        raise BackendUnavailable(
            f"{asked} names none of this machine's GPUs ({listed}); name some by index or UUID (parts of a GPU cannot "
            "be used), or set it to -1 for CPU cores"
        )
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
