"""What the parts of a stored record must be for those who read it; it knows neither what they mean nor the record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from dcbench import spec

Form: TypeAlias = "type | tuple[type, ...]"
_NUMBER = (int, float)
_DEEPEST = 50
_NEEDED: dict[str, Form] = {  # of a specification; all else may be absent, or None
    "model": (str, dict),
    "dataset": (str, dict),
    "backend": str,
    "devices": int,
    "batch_per_device": int,
    "global_batch": int,
}
_OF_TYPE: dict[str, Form] = {"int": int, "float": _NUMBER, "bool": bool, "str": str, "dict": dict}
_SPEC = {f.name: _OF_TYPE[str(f.type).split("[")[0].split(" |")[0]] for f in spec.fields()} | _NEEDED
_PARTS: dict[str, Form] = {
    **dict.fromkeys(("reason", "kind", "started_utc", "spec_hash"), str),
    **dict.fromkeys(("spec", "machine", "versions", "placement", "model", "data", "checks", "sweep"), dict),
    **dict.fromkeys(("flags", "workers"), list),
}
_WITHIN: dict[str, dict[str, Form]] = {
    "machine": {
        **dict.fromkeys(("name", "host", "cpu_model", "os"), str),
        **dict.fromkeys(("memory_bytes", "load_1min", "physical_cores", "quota_cores"), _NUMBER),
        **dict.fromkeys(("cores", "gpus"), list),
        "environment": dict,
    },
    "placement": {"device_type": str, "start": str, "oversubscribed": (bool, str)},
    "model": dict.fromkeys(("parameters", "gradient_bytes", "flops_per_example"), _NUMBER),
    "data": {"source": str, "examples": _NUMBER},
    "sweep": {"id": str, "key": str, "round": int, "place": int, "canary": bool},
}


def check(values: Mapping[str, Any]) -> None:
    """
    Refuse a record's dictionary whose parts its readers could not use; parts that are not known here are left alone.

    Raises
    ------
    ValueError
        Saying which part is damaged.

    Examples
    --------
    >>> check({"spec": {"model": "cnn", "dataset": "digits", "devices": 2}})
    Traceback (most recent call last):
    ValueError: its spec has no 'backend'
    """
    _check_forms("record", values, _PARTS)
    if (empty := [n for n in _PARTS if n in values and values[n] is None]) or "spec" not in values:
        raise ValueError(f"it has no {(*empty, 'spec')[0]!r}")
    asked = values["spec"]
    missing = [n for n in _NEEDED if asked.get(n) is None]
    if missing:
        raise ValueError(f"its spec has no {missing[0]!r}")
    _check_forms("spec", asked, _SPEC)
    for part, forms in _WITHIN.items():
        _check_forms(part, values.get(part) or {}, forms)
    machine, versions = values.get("machine") or {}, values.get("versions") or {}
    _check_forms("versions", versions, dict.fromkeys(versions, str))
    for name, found, form in (
        ("GPUs", machine.get("gpus"), dict),
        ("flags", values.get("flags"), str),
        ("workers", values.get("workers"), dict),
    ):
        if not all(isinstance(each, form) for each in found or ()):
            raise ValueError(f"its {name} are not all {'text' if form is str else 'described'}")
    _check_sizes({n: v for n, v in values.items() if n != "samples"})


def _check_forms(part: str, values: Mapping[str, Any], forms: Mapping[str, Form]) -> None:
    for name, form in forms.items():
        value = values.get(name)
        known = form if isinstance(form, tuple) else (form,)
        if value is not None and (not isinstance(value, known) or (isinstance(value, bool) and bool not in known)):
            raise ValueError(f"its {part} has a {type(value).__name__} as {name!r}")


def _check_sizes(value: Any, depth: int = 0) -> None:
    """Refuse numbers that no float holds, text that no file holds, and parts within parts without end."""
    kind = type(value)
    if kind is dict or kind is list:
        if depth > _DEEPEST:
            raise ValueError("its parts are nested too deeply")
        for each in (*value, *value.values()) if kind is dict else value:
            _check_sizes(each, depth + 1)
    elif kind is int or kind is float:
        if math.isinf(float(value)):
            raise ValueError("it has a number that is more than a float holds")
    elif kind is str and not value.isascii():
        value.encode()
