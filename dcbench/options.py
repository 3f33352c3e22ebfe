"""Declares the fields of a dataclass with their meaning and bounds, and checks what a person gives for them.

It knows nothing of what the fields stand for.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from collections.abc import Mapping
from typing import Any

from dcbench import functions, redaction, registry
from dcbench.errors import SpecError

_TYPES: dict[str, tuple[type, str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "True or False"),
    "str": (str, "text"),
    "dict": (dict, "a dictionary"),
}


def option(default: Any, doc: str, **checks: Any) -> Any:
    """Declare a field: its default, meaning (with unit) and checks (low, high, above, choices, kind)."""
    metadata = {"doc": doc, **checks}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def default(declared: dataclasses.Field[Any]) -> Any:
    """Return the default of a field."""
    if declared.default_factory is not dataclasses.MISSING:
        return declared.default_factory()
    return declared.default


def check_fields(part: Any) -> None:
    """Replace each field of a frozen dataclass by its checked, canonical value.

    Raises
    ------
    SpecError
        Naming the field, what was given and what it must be.
    """
    for declared in dataclasses.fields(part):
        value = getattr(part, declared.name)
        object.__setattr__(part, declared.name, checked(declared, value))


def checked(declared: dataclasses.Field[Any], value: Any) -> Any:
    """Return the value in its canonical type, or raise a `SpecError` that says what is wrong."""
    name, rules, annotation = declared.name, declared.metadata, str(declared.type)
    if value is None and "None" in annotation:
        return None
    if "kind" in rules:
        return _checked_entry(name, rules["kind"], value)
    wanted = annotation.split("[")[0].split(" |")[0]
    value = _plain_number(wanted, value)
    if not isinstance(value, _TYPES[wanted][0]) or (wanted == "int" and isinstance(value, bool)):
        shown = redaction.masked(value, name)
        raise SpecError(f"{name}={shown!r} is a {type(value).__name__}; give {_TYPES[wanted][1]} ({rules['doc']})")
    if wanted == "dict":
        return _checked_dict(name, value)
    _check_range(name, value, rules)
    return value


def _plain_number(wanted: str, value: Any) -> Any:
    """Turn whole numbers of any library into Python's, and into floats where a number is wanted."""
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        value = int(value)
    if wanted == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    if wanted == "float" and isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:
            return math.inf  # more than a float holds
    return value


def _check_range(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"{name}={value!r} is not a finite number; give one ({rules['doc']})")
    if "choices" in rules and value not in rules["choices"]:
        listed = ", ".join(rules["choices"])
        raise SpecError(f"unknown {name} {value!r}{registry.nearest(value, rules['choices'])} (known: {listed})")
    if "low" in rules and value < rules["low"]:
        raise SpecError(f"{name}={value!r} is too small; the least is {rules['low']} ({rules['doc']})")
    if "above" in rules and value <= rules["above"]:
        raise SpecError(f"{name}={value!r} is too small; it must be above {rules['above']} ({rules['doc']})")
    if "high" in rules and value > rules["high"]:
        raise SpecError(f"{name}={value!r} is too large; the most is {rules['high']} ({rules['doc']})")


def _checked_entry(name: str, kind: str, value: Any) -> Any:
    if callable(value) and kind != "backend":
        return value
    if not isinstance(value, str):
        raise SpecError(f"{name}={value!r} is a {type(value).__name__}; give a name, 'file.py:function' or a function")
    return value if kind != "backend" and functions.is_file_function(value) else registry.check(kind, value)


def _checked_dict(name: str, value: Any) -> dict[str, Any]:
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(
            f"{name} holds a value that is not plain JSON ({error}); use finite numbers, strings, lists"
        ) from error
    bad = [k for k in value if not (isinstance(k, str) and k.isidentifier())]
    if bad:
        raise SpecError(f"{name} has the key {bad[0]!r}, which is not an identifier; use names")
    return plain
