"""Handwritten digits, 1,797 real images of 8×8 pixels, bundled with scikit-learn (from UCI, 1998)."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np

from dcbench.datasets._base import Dataset, from_arrays
from dcbench.datasets._files import write_atomically
from dcbench.errors import SpecError

TEST_FRACTION = 0.2
SPLIT_SEED = 0
CONTENT_SHA256 = (
    "ff96851efd6cdcea0661f5a5524321bb4aadbc39afbfa45757bea9ad270aa0d1"  # of x, y, x_test, y_test as stored
)
BUNDLED = "sklearn/datasets/data/digits.csv.gz"
PARTS = ("x", "y", "x_test", "y_test")


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
    path = cache / "digits.npz"
    source = "cache" if path.exists() else "bundled"
    arrays = _read_cache(path) if path.exists() else _read_bundled()
    if _digest(arrays) != CONTENT_SHA256:
        where = path if source == "cache" else "scikit-learn's file"
        raise SpecError(f"{where} does not hold the digits that dcbench knows; delete or reinstall it")
    if source == "bundled":
        write_atomically(path, lambda file: np.savez(file, **arrays))
    x, y, x_test, y_test = (arrays[name] for name in PARTS)
    return from_arrays("digits", source, (_scale(x), y), (_scale(x_test), y_test), outputs=10)


def _read_cache(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in PARTS}
    except Exception as error:
        raise SpecError(f"the cached file {path} cannot be read ({error}); delete it") from error


def _read_bundled() -> dict[str, np.ndarray]:
    try:
        path = Path(str(metadata.distribution("scikit-learn").locate_file(BUNDLED)))
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    except (metadata.PackageNotFoundError, OSError) as error:
        raise SpecError(
            f"dataset 'digits' needs scikit-learn's bundled file ({error}); install scikit-learn"
        ) from error
    shuffled = table[np.random.RandomState(SPLIT_SEED).permutation(len(table))]
    x, y = shuffled[:, :-1].reshape(-1, 8, 8, 1), shuffled[:, -1]
    held_out = int(len(table) * TEST_FRACTION)
    return {"x": x[held_out:], "y": y[held_out:], "x_test": x[:held_out], "y_test": y[:held_out]}


def _digest(arrays: dict[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for name in PARTS:
        found.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode() + arrays[name].tobytes())
    return found.hexdigest()


def _scale(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) / 16
