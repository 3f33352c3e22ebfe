"""dcbench measures, explains and predicts the training of TF/Keras models over several devices.

Importing it imports no TensorFlow; each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "RunSpec": "spec",
    "Record": "record",
    "METRICS": "metrics",
    "DcbenchError": "errors",
    "SpecError": "errors",
    "BackendUnavailable": "errors",
    "WorkerFailed": "errors",
    "StoreError": "errors",
    "run": "launch",
    "stop_engines": "launch",
    "describe": "launch",
    "grid": "sweeps.grids",
    "sweep": "sweeps.running",
    "compare": "comparison",
    "load_record": "store",
    "load_records": "store",
    "load_sweep": "store",
    "inspect_machine": "hardware",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"dcbench.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dcbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
