"""Keeps the secrets of a run out of what is kept of it: gathers them before it starts, masks them when it has ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcbench import functions, spec
from dcbench.launch import inputs
from dcbench.record import Record
from dcbench.redaction import Hidden, of_environment

_TOLD = ("reason", "flags", "model", "data", "checks")  # parts of a record in which a message or a name may stand


def gather(asked: spec.RunSpec) -> tuple[dict[str, Any], Hidden]:
    """
    Find the secrets of a run.

    Parameters
    ----------
    asked : RunSpec

    Returns
    -------
    stored : dict
        Its fields as they are kept.
    hidden : Hidden
        All secrets of its arguments and functions, and of this process's environment.

    Raises
    ------
    SpecError
        If a value is still masked, as in a specification from a record.
    """
    for field in spec.OF_OWN_NAMES:
        inputs.check_given(asked, field)
    found = of_environment(os.environ)
    stored = spec.masked(asked.to_dict(), found)
    for name in ("model", "dataset"):
        value = getattr(asked, name)
        if callable(value) or functions.is_file_function(value):
            found |= functions.secrets(value)
    hidden = Hidden(found)
    return stored | {n: hidden.value(stored[n]) for n in _own(stored)}, hidden


def _own(stored: Mapping[str, Any]) -> list[str]:
    """Name the fields whose texts are a person's own."""
    return [*spec.OF_OWN_NAMES, *(n for n in ("model", "dataset") if isinstance(stored[n], dict))]


def clear_record(record: Record, hidden: Hidden) -> None:
    """Mask secrets in what a record tells."""
    for name in _TOLD:
        setattr(record, name, hidden.value(getattr(record, name)))
    if "environment" in record.machine:
        record.machine = record.machine | {"environment": hidden.value(record.machine["environment"])}


def clear_logs(run_dir: Path, hidden: Hidden) -> list[str]:
    """Mask secrets in the logs of a run that has ended; return what went wrong, as flags."""
    said = []
    logs = [p for p in sorted(run_dir.glob("*.log")) if p.is_file()]  # no device, which may never end
    for path in logs if hidden.values else []:
        try:
            hidden.file(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                said.append(f"{path.name} may hold secrets: it could not be looked through ({error.strerror})")
    return said
