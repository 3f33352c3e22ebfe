"""Every combination of the values that a person lists, as runs; it starts nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from dcbench import options
from dcbench.errors import SpecError
from dcbench.spec import RunSpec, fields

_AXIS = (list, tuple, range)


class Grid(list[RunSpec]):
    """
    The runs of a grid, in order.

    Attributes
    ----------
    left_out : list of (dict, str)
        Each combination that contradicts itself: its values on the grid's axes, and the reason.
    """

    def __init__(self, specs: Iterable[RunSpec] = (), left_out: Iterable[tuple[dict[str, Any], str]] = ()) -> None:
        super().__init__(specs)
        self.left_out = list(left_out)


def grid(**values: Any) -> Grid:
    """
    Make a run of every combination of values.

    Parameters
    ----------
    **values
        Fields of `RunSpec`, ``global_batch`` too. A list, tuple or range is an axis; anything else is common to all
        runs. The last axis changes fastest.

    Returns
    -------
    Grid
        A list of `RunSpec`, each once. Combinations that contradict themselves, such as the backend ``"single"`` on two
        devices, are left out and named in its ``left_out``.

    Raises
    ------
    SpecError
        For an unknown name, a value that no run can have, an axis without values, or where no combination is left.

    Examples
    --------
    >>> found = grid(backend=["single", "horovod"], devices=[1, 2], model="mlp")
    >>> [(s.backend, s.devices) for s in found]
    [('single', 1), ('horovod', 1), ('horovod', 2)]
    >>> found.left_out[0]  # doctest: +ELLIPSIS
    ({'backend': 'single', 'devices': 2}, "backend 'single' uses one device, devices=2 was asked; ...")
    """
    axes = {n: list(v) if isinstance(v, _AXIS) else [v] for n, v in values.items()}
    for name, choices in axes.items():
        _check_axis(name, choices)
    several = [n for n, v in values.items() if isinstance(v, _AXIS)]
    made: dict[str, RunSpec] = {}
    left_out = []
    for combination in itertools.product(*axes.values()):
        chosen = dict(zip(axes, combination, strict=True))
        try:
            spec = RunSpec(**chosen)
        except SpecError as error:
            left_out.append(({n: chosen[n] for n in several}, str(error)))
        else:
            made.setdefault(spec.hash, spec)
    if not made:
        raise SpecError(_nothing_left(left_out))
    return Grid(made.values(), left_out)


def _check_axis(name: str, choices: list[Any]) -> None:
    """Refuse what is wrong whatever the other fields are."""
    if not choices:
        raise SpecError(f"the grid's axis {name!r} is empty; give at least one value")
    declared = {f.name: f for f in fields()}
    for value in choices:
        if name in declared:
            options.checked(declared[name], value)
        else:
            RunSpec(**{name: value})


def _nothing_left(left_out: list[tuple[dict[str, Any], str]]) -> str:
    chosen, reason = left_out[0]
    if len(left_out) == 1:
        return reason
    which = ", ".join(f"{n}={v!r}" for n, v in chosen.items())
    return f"none of the grid's {len(left_out)} combinations can run; the first ({which}): {reason}"
