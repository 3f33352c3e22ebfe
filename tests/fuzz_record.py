"""Coverage-guided fuzzing of the record reader: any bytes give a Record or a StoreError, and a Record can be used.

``python tests/fuzz_record.py [options of libFuzzer] CORPUS``; needs atheris. ``tests/faults/test_records.py``
runs it, and says where the corpus comes from.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["dcbench.store", "dcbench.record", "dcbench.parts", "dcbench.cli.run"]):
    from dcbench.cli import run as command
    from dcbench.errors import StoreError
    from dcbench.record import Record
    from dcbench.store import files, runs, table

ODD: list[Any] = [
    None, True, 0, -1, 1.5, -0.0, 1e308, 2**63, 10**30, 10**400, "", "x", "nan", "\ud800", "\0", "x" * 100,
    [], {}, [[]], [None], {"a": 1}, [0, 2**31],
]  # fmt: skip
DEEP = b"[" * 5000 + b"]" * 5000


def read(data: bytes) -> None:
    """Read bytes as `load_record` does, and use the record where it is one."""
    files.read_regular = lambda path, most: data[:most]  # in place of a file, which would take most of the time
    try:
        record = Record.from_dict(runs.read_json(Path("record.json")))
    except StoreError:
        return
    text = runs.encoded(record.to_dict())
    assert runs.encoded(Record.from_dict(files.parsed(files.sealed(text))).to_dict()) == text
    table.row(record)
    command.summary(record)
    record.step_s, record.loss, repr(record)


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Change a value, a key or a number of parts of a record, which most changes of bytes would only make no JSON."""
    chance = random.Random(seed)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return atheris.Mutate(data, most)
    if not isinstance(values, dict) or chance.random() < 0.3:
        return atheris.Mutate(data, most)
    values.pop("sha256", None)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        _change(values, chance)
    try:
        text = json.dumps(values).encode()
    except RecursionError:  # it can be nested more deeply when it is read
        return atheris.Mutate(data, most)
    if chance.random() < 0.02:
        text = text.replace(b"[]", DEEP, 1)
    return (files.sealed(text) if chance.random() < 0.5 else text)[:most]


def _change(values: dict[str, Any], chance: random.Random) -> None:
    spot: Any = values
    while spot:
        key = chance.choice(list(spot) if isinstance(spot, dict) else range(len(spot)))
        if isinstance(spot[key], dict | list) and spot[key] and chance.random() < 0.8:
            spot = spot[key]
            continue
        what = chance.random()
        if what < 0.2:
            del spot[key]
        elif what < 0.3 and isinstance(spot, list):
            spot.extend([spot[key]] * chance.choice([1, 10]))
        elif what < 0.4 and isinstance(spot, dict):
            spot[chance.choice(["", "function", "x", "name", "sha256"])] = spot.pop(key)
        else:
            spot[key] = copy.deepcopy(chance.choice(ODD))
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, read, custom_mutator=mutate)
    atheris.Fuzz()
