"""Small real data in the files of scikit-learn: read without importing it, checked, split once, kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

from dcbench.datasets._files import write_atomically
from dcbench.errors import SpecError

TEST_FRACTION = 0.2
SPLIT_SEED = 0
PARTS = ("x", "y", "x_test", "y_test")
FOLDER = "sklearn/datasets/data"
Read = Callable[[Path], tuple[np.ndarray, np.ndarray]]


def load(name: str, cache: Path, content_sha256: str, read: Read) -> tuple[dict[str, np.ndarray], str]:
    """
    Load a bundled dataset as it is stored: from the cache, else from scikit-learn's files.

    Parameters
    ----------
    name : str
    cache : Path
    content_sha256 : str
        Digest that the split arrays must have.
    read : callable
        Given scikit-learn's folder of data, it returns inputs and targets.

    Returns
    -------
    arrays : dict of numpy.ndarray
        ``x``, ``y``, ``x_test``, ``y_test``; a fifth is held out to test.
    source : {"bundled", "cache"}

    Raises
    ------
    SpecError
        If scikit-learn is not installed, or a file holds something else.
    """
    path = cache / f"{name}.npz"
    source = "cache" if path.exists() else "bundled"
    arrays = _read_cache(path) if path.exists() else _read_bundled(name, read)
    if _digest(arrays) != content_sha256:
        where = path if source == "cache" else "scikit-learn's file"
        raise SpecError(f"{where} does not hold the {name} that dcbench knows; delete or reinstall it")
    if source == "bundled":
        write_atomically(path, lambda file: np.savez(file, **arrays))
    return arrays, source


def _read_cache(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {part: stored[part] for part in PARTS}
    except Exception as error:
        raise SpecError(f"the cached file {path} cannot be read ({error}); delete it") from error


def _read_bundled(name: str, read: Read) -> dict[str, np.ndarray]:
    try:
        x, y = read(Path(str(metadata.distribution("scikit-learn").locate_file(FOLDER))))
    except (metadata.PackageNotFoundError, OSError) as error:
        raise SpecError(
            f"dataset {name!r} needs scikit-learn's bundled file ({error}); install scikit-learn"
        ) from error
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(len(x))
    test, train = np.split(shuffled, [int(len(x) * TEST_FRACTION)])
    return {"x": x[train], "y": y[train], "x_test": x[test], "y_test": y[test]}


def _digest(arrays: dict[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for part in PARTS:
        found.update(f"{part}{arrays[part].dtype}{arrays[part].shape}".encode() + arrays[part].tobytes())
    return found.hexdigest()
