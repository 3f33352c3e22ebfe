"""Explore where the processes of a run would be: which cores and GPUs each would get, before anything runs."""

from __future__ import annotations

from typing import Any

import ipywidgets
import traitlets

from dcbench import figures, launch, registry
from dcbench.errors import SpecError
from dcbench.hardware import Machine
from dcbench.spec import RunSpec
from dcbench.widgets._stage import PICK, THEMES, Stage


class MachineExplorer(Stage):
    """
    Controls over `figures.plot_machine` with the placement of a run; each trait is a control, and can be set from code.

    Attributes
    ----------
    backend : str
    devices : int
        The control goes to twice what there is, to show what is said then.
    cores_per_device : int
        CPU cores of one device, where CPU cores are the devices.
    device_type : {"auto", "gpu", "cpu"}
        Offered where there are GPUs.
    """

    backend = traitlets.Unicode("horovod")
    devices = traitlets.Int(2)
    cores_per_device = traitlets.Int(1)
    device_type = traitlets.Enum(("auto", "gpu", "cpu"), "auto")

    def __init__(self, machine: Machine) -> None:
        if not isinstance(machine, Machine):
            kind = type(machine).__name__
            raise SpecError(f"explore_machine needs a machine, and was given a {kind}; give dcbench.inspect_machine()")
        super().__init__()
        self._machine = machine
        self.devices = min(2, max(len(machine.cores), len(machine.gpus)))
        self.children = (self._controls(), self._place)
        self.observe(self._refresh, ["backend", "devices", "cores_per_device", "device_type", "theme"])
        self._refresh()

    def __repr__(self) -> str:
        return f"{self._machine.name} to explore: interactive in JupyterLab"

    def _controls(self) -> ipywidgets.HBox:
        cores = len(self._machine.cores)
        most = 2 * max(cores, len(self._machine.gpus))
        known = list(figures.COLOURS)
        backends = sorted(registry.names("backend"), key=lambda b: (known.index(b) if b in known else len(known), b))
        made = {
            "backend": backends,
            "devices": ipywidgets.BoundedIntText(min=1, max=most, layout=PICK),
            "cores_per_device": ipywidgets.BoundedIntText(min=1, max=2 * cores, layout=PICK),
            "device_type": ["auto", "gpu", "cpu"],
            "theme": THEMES,
        }
        if not self._machine.gpus:
            del made["device_type"]
        return self._row(made)

    def _refresh(self, _change: Any = None) -> None:
        self._show(self._draw)

    def _draw(self) -> figures.Figure:
        spec = RunSpec(
            backend=self.backend,
            devices=self.devices,
            threads_per_device=self.cores_per_device,
            device_type=self.device_type,
        )
        return figures.plot_machine(self._machine, placement=launch.plan(spec, self._machine))


def explore_machine(machine: Machine) -> MachineExplorer:
    """
    Explore which cores and GPUs each process of a run would get, with controls; nothing is started.

    Parameters
    ----------
    machine : Machine
        As from `dcbench.inspect_machine`.

    Returns
    -------
    MachineExplorer
        Shown by JupyterLab; ``.figure`` is the static figure.

    Raises
    ------
    SpecError
        If `machine` is none. A choice that this machine cannot serve is explained in the figure's place.

    Examples
    --------
    >>> explore_machine("node-1")
    Traceback (most recent call last):
    dcbench.errors.SpecError: explore_machine needs a machine, and was given a str; give dcbench.inspect_machine()
    """
    return MachineExplorer(machine)
