"""Diabetes progression of 442 real patients from ten measurements, bundled with scikit-learn (Efron et al. 2004)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dcbench.datasets import _bundled
from dcbench.datasets._base import Dataset, from_arrays

INPUT_SHAPE = (10,)
CONTENT_SHA256 = "2c3941788aa90878ac101755432b75fde876a2d2f224facb9fbad326a1f1a73e"  # of x, y, x_test, y_test as stored


def load(cache: Path, allow_download: bool = False) -> Dataset:
    """
    Load the patients: from the cache, else from scikit-learn's files, without importing scikit-learn.

    Returns
    -------
    Dataset
        A regression: inputs (examples, 10), targets (examples, 1); 354 to train on and 88 to test, split once for
        all. Inputs and targets are standardised to mean 0 and deviation 1 of the training rows: there a mean
        squared error of 1 is that of always predicting the mean, and 1 − error is R².

    Raises
    ------
    SpecError
        If scikit-learn is not installed, or a file holds something else.
    """
    arrays, source = _bundled.load("diabetes", cache, CONTENT_SHA256, _read)
    for part in ("x", "y"):
        mean, deviation = arrays[part].mean(0), arrays[part].std(0)
        arrays |= {n: (arrays[n] - mean) / deviation for n in (part, f"{part}_test")}
    x, y, x_test, y_test = (arrays[part] for part in _bundled.PARTS)
    return from_arrays("diabetes", source, (x, y), (x_test, y_test))


def _read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.loadtxt(folder / "diabetes_data_raw.csv.gz"), np.loadtxt(folder / "diabetes_target.csv.gz")
