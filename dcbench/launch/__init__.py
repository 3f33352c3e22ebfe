"""Starts, watches, stops and reaps the processes of a run behind one small interface.

It names the worker as a string and imports none of it; it is loaded in parts, so that the fork process stays light.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "run": "handle",
    "running": "handle",
    "Handle": "handle",
    "describe": "describing",
    "stop_engines": "engine",
    "engine_status": "engine",
    "plan": "placement",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"dcbench.launch.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dcbench.launch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
