"""Handwritten digits, 1,797 real images of 8×8 pixels, bundled with scikit-learn (from UCI, 1998)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dcbench.datasets import _bundled
from dcbench.datasets._base import Dataset, from_arrays

INPUT_SHAPE = (8, 8, 1)
CONTENT_SHA256 = (
    "ff96851efd6cdcea0661f5a5524321bb4aadbc39afbfa45757bea9ad270aa0d1"  # of x, y, x_test, y_test as stored
)


def load(cache: Path, allow_download: bool = False) -> Dataset:
    """
    Load the digits: from the cache, else from scikit-learn's file, without importing scikit-learn.

    Returns
    -------
    Dataset
        Inputs (examples, 8, 8, 1) from 0 to 1; 1,438 to train on and 359 to test, split once for all.

    Raises
    ------
    SpecError
        If scikit-learn is not installed, or a file holds something else.
    """
    arrays, source = _bundled.load("digits", cache, CONTENT_SHA256, _read)
    x, y, x_test, y_test = (arrays[part] for part in _bundled.PARTS)
    return from_arrays("digits", source, (_scale(x), y), (_scale(x_test), y_test), outputs=10)


def _read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    table = np.loadtxt(folder / "digits.csv.gz", delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, *INPUT_SHAPE), table[:, -1]


def _scale(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) / 16
