"""What a person proposes to run, checked against this machine before it starts: what is wrong with which field, and
how the same is said in Python and on a command line.

It starts nothing and knows no widgets.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcbench import registry
from dcbench.errors import BackendUnavailable, DcbenchError, SpecError
from dcbench.launch import environment, inputs, placement
from dcbench.options import checked, default
from dcbench.spec import OF_OWN_NAMES, RunSpec, fields, masked

if TYPE_CHECKING:
    from dcbench.hardware import Machine

_FIELDS = {f.name: f for f in fields()}


@dataclass(frozen=True)
class Proposal:
    """
    A run as it would be made on a machine.

    Parameters
    ----------
    values : mapping of str to object
        Fields of a `RunSpec`, as values or as text that was typed; an empty text leaves an optional field out. Where a
        contradiction cannot be pinned to one field, the first of these is the one that is said to be wrong.
    machine : Machine
        As from `dcbench.inspect_machine`.

    Examples
    --------
    >>> from dcbench import inspect_machine
    >>> here = inspect_machine()
    >>> good = Proposal({"model": "mlp", "steps": "50"}, here)
    >>> good.problems, good.python
    ({}, "record = await dcbench.run(dcbench.RunSpec(model='mlp', steps=50))")
    >>> good.shell
    'dcbench run --model mlp --steps 50'
    >>> Proposal({"batch_per_device": "0"}, here).problems
    {'batch_per_device': 'batch_per_device=0 is too small; the least is 1 (examples per device and optimizer step)'}
    """

    values: Mapping[str, Any]
    machine: Machine

    @property
    def problems(self) -> dict[str, str]:
        """What keeps this from being run, a sentence by the name of the field that it is about; empty where nothing."""
        return dict(self._found[0])

    @property
    def spec(self) -> RunSpec | None:
        """What would be run; None as long as there are problems."""
        return self._found[1]

    @property
    def python(self) -> str:
        """The call that makes this run in a notebook, with what is not default; empty as long as there are problems."""
        if self.spec is None:
            return ""
        for name, function in _own_functions(self.spec):
            if "<" in getattr(function, "__qualname__", "<"):  # a lambda, one made inside another, a partial
                return f"# the {name} is a function without a name in this notebook; define it by itself, with def"
        return f"record = await dcbench.run(dcbench.{self.spec!r})"

    @property
    def shell(self) -> str:
        """The command that makes this run, or a comment why there is none; empty as long as there are problems."""
        if self.spec is None:
            return ""
        for name, _ in _own_functions(self.spec):
            return f"# the {name} is a function of this notebook; put it in a file and give it as 'file.py:function'"
        given = masked({name: getattr(self.spec, name) for name in _FIELDS})
        words = [_flag(n, v) for n, v in given.items() if v != default(_FIELDS[n])]
        return shlex.join(["dcbench", "run", *itertools.chain(*words)])

    @functools.cached_property
    def _found(self) -> tuple[dict[str, str], RunSpec | None]:
        problems: dict[str, str] = {}
        good = {}
        for name, value in self.values.items():
            try:
                good[name] = checked(_field(name), _meant(_field(name), value))
            except SpecError as error:
                problems[name] = str(error)
        made = None
        while made is None:  # a field that contradicts others is left out, to see what else is wrong
            try:
                made = RunSpec(**good)
            except SpecError as error:
                name = _named(str(error), self.values)
                problems.setdefault(name, str(error))
                if good.pop(name, None) is None:  # it was left out, and still contradicts
                    return problems, None
        for name, check in _checks(made, self.machine):
            sentence = _refusal(check)
            if sentence and sentence not in problems.values():
                problems.setdefault(name, sentence)
        return problems, None if problems else made


def unavailable(backend: str, machine: Machine) -> str:
    """
    Say why a backend cannot be used with this installation on a machine.

    Parameters
    ----------
    backend : str
        Registered name.
    machine : Machine

    Returns
    -------
    str
        Empty where it can.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return f"backend {backend!r} needs TensorFlow, which is not installed; run 'make setup'"
    return _refusal(lambda: environment.transport(RunSpec(backend=backend), "gpu" if machine.gpus else "cpu"))


def _own_functions(made: RunSpec) -> list[tuple[str, Callable[..., Any]]]:
    return [(name, value) for name in ("model", "dataset") if callable(value := getattr(made, name))]


def _field(name: str) -> Any:
    if name not in _FIELDS:
        raise SpecError(f"unknown parameter {name!r}{registry.nearest(name, tuple(_FIELDS))}")
    return _FIELDS[name]


def _meant(field: Any, value: Any) -> Any:
    """Return the number that a text is where the field is one; a text that is none is left to be refused."""
    kind = str(field.type)
    if not isinstance(value, str) or not kind.startswith(("int", "float")):
        return value
    if not value.strip() and "None" in kind:
        return None
    for convert in (int, float):
        try:
            return convert(value)
        except ValueError:
            continue
    return value


def _named(sentence: str, values: Mapping[str, Any]) -> str:
    """Return the field that an error is about: the first it mentions with a value, else by name, else the first."""
    mentioned = [*re.findall(r"(\w+)=", sentence), *re.findall(r"\w+", sentence)]
    return next((name for name in mentioned if name in values), next(iter(values)))


def _flag(name: str, value: Any) -> list[str]:
    """Return the words that give a field a value on the command line."""
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    if isinstance(value, dict):
        return [flag, json.dumps(value)]
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]


def _refusal(attempt: Callable[[], object]) -> str:
    """Return what an attempt is refused with; empty where it is not."""
    try:
        attempt()
    except DcbenchError as error:
        return str(error)
    return ""


def _checks(made: RunSpec, machine: Machine) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the fields that this machine and installation may refuse, each with what then raises."""
    on_gpus = bool(machine.gpus) and made.device_type != "cpu"
    yield "backend", lambda: _check_backend(made.backend, machine)
    yield "transport", lambda: environment.transport(made, "gpu" if on_gpus else "cpu")
    lacks_gpus = made.device_type == "gpu" and not machine.gpus
    yield "device_type" if lacks_gpus else "devices", lambda: placement.plan(made, machine)
    for name in OF_OWN_NAMES:
        yield name, lambda name=name: inputs.check_given(made, name)
    yield "knobs", lambda: environment.base(made)
    yield "model", lambda: inputs.check_function(made.model)
    yield "dataset", lambda: inputs.check_dataset(made)
    yield "model", lambda: inputs.check_fit(made)


def _check_backend(name: str, machine: Machine) -> None:
    if why := unavailable(name, machine):
        raise BackendUnavailable(why)
