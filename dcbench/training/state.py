"""Copies of everything that training changes, so that warm-up can be undone to the last bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dcbench.backends._base import Backend
from dcbench.store.files import for_person


class Snapshot:
    """
    The values of all variables of a model and its optimizer on every device of this process.

    Random states are included: after `restore`, timed step 0 is training step 0 in every backend.
    """

    def __init__(self, model: keras.Model, optimizer: keras.Optimizer, backend: Backend) -> None:
        variables = {id(v): v for v in (*model.variables, *optimizer.variables)}.values()
        self._copies = [copy for v in variables for copy in backend.local(v.value)]
        self._values: list[np.ndarray] = [np.array(copy.numpy()) for copy in self._copies]

    def restore(self) -> None:
        """Put every value back."""
        for copy, value in zip(self._copies, self._values, strict=True):
            copy.assign(value)


def save_whole(model: keras.Model, path: Path) -> None:
    """Save a model whole or not at all; raise a `StoreError` where there is no room for it."""
    half = path.with_name(f".half-{path.name}")
    try:
        model.save(half)
        os.replace(half, path)
    except Exception as error:
        half.unlink(missing_ok=True)
        raise for_person(error, path.parent) from error


def sizes(model: keras.Model, optimizer: keras.Optimizer) -> dict[str, Any]:
    """Return the bytes of weights and of optimizer state."""

    def total(variables: Any) -> int:
        return int(sum(np.prod(v.shape) * np.dtype(_storage(v.dtype)).itemsize for v in variables))

    return {"weight_bytes": total(model.weights), "optimizer_bytes": total(optimizer.variables)}


def _storage(dtype: str) -> str:
    return {"bfloat16": "float16"}.get(dtype, dtype)
