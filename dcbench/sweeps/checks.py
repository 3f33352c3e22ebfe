"""What a person asked of a sweep, checked before anything runs."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from dcbench import functions
from dcbench.errors import SpecError
from dcbench.hardware import Machine
from dcbench.launch import environment, inputs, placement
from dcbench.spec import OF_OWN_NAMES, RunSpec


def specs(wanted: Sequence[RunSpec]) -> list[RunSpec]:
    """Return the configurations, each once."""
    given = [wanted] if isinstance(wanted, RunSpec) else list(wanted)
    for spec in given:
        if not isinstance(spec, RunSpec):
            raise SpecError(f"a sweep runs RunSpecs, {spec!r} was given; make them with dcbench.grid")
    if not given:
        raise SpecError("a sweep of no configurations was asked for; make some with dcbench.grid")
    return list({s.hash: s for s in given}.values())


def canary(wanted: RunSpec | bool | None, specs: Sequence[RunSpec]) -> RunSpec | None:
    """Return the configuration that shows a drift of the machine, or None where there is to be none.

    The default does not depend on the order of the list, as a sweep is known by its canary.
    """
    if wanted is False:
        return None
    if wanted is None:
        return min(specs, key=lambda s: (s.backend != "single", s.target_accuracy is not None, s.hash))
    if isinstance(wanted, RunSpec):
        return wanted
    raise SpecError(f"canary={wanted!r} is a {type(wanted).__name__}; give a RunSpec, or False for none")


def count(name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number of that range."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= int(value) <= high:
        raise SpecError(f"{name}={value!r} was given; give a whole number from {low} to {high}")
    return int(value)


def unchanged(spec: RunSpec, spec_hash: str, sweep_id: str) -> None:
    """Refuse to go on where the file of a model or dataset is no more what the sweep was asked for with."""
    if spec.hash != spec_hash:
        texts = [f for f in (spec.model, spec.dataset) if isinstance(f, str)]
        named = " or ".join(f for f in texts if functions.is_file_function(f))
        raise SpecError(
            f"sweep {sweep_id} was asked for with {named} as it was then, and that file has been edited; "
            "start it again for a new sweep, or undo the edit to go on with this one"
        )


def runs_here(spec: RunSpec, machine: Machine) -> None:
    """Refuse, before anything runs, what `run` would refuse at its turn."""
    for field in OF_OWN_NAMES:
        inputs.check_given(spec, field)
    where = placement.plan(spec, machine)
    environment.transport(spec, where.device_type)
    environment.base(spec)
    for function in (spec.model, spec.dataset):
        if not isinstance(function, str):
            functions.pack(function)
