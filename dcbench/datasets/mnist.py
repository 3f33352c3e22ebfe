"""MNIST, 70,000 handwritten digits of 28×28 pixels (LeCun et al. 1998): from the cache, else downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dcbench.datasets._base import Dataset, from_arrays
from dcbench.datasets._files import fetch, sha256
from dcbench.errors import SpecError

INPUT_SHAPE = (28, 28, 1)
IS_DOWNLOADED = True  # and kept in the cache as mnist.npz
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = (
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"  # as keras.datasets.mnist states it
)
MOST_BYTES = 12_000_000  # it has 11,490,434
SILENCE_S, LIMIT_S = 10.0, 120.0


def load(cache: Path, allow_download: bool = False) -> Dataset:
    """
    Load MNIST.

    Returns
    -------
    Dataset
        Inputs (examples, 28, 28, 1) from 0 to 1; 60,000 to train on and 10,000 to test.

    Raises
    ------
    SpecError
        If it is neither in the cache nor may or can be downloaded, or is damaged.
    """
    path = cache / "mnist.npz"
    source = "cache" if path.exists() else "download"
    if source == "download":
        _download(path, allow_download)
    if sha256(path) != SHA256:
        raise SpecError(f"the cached file {path} is damaged or another one (SHA-256 differs); delete it")
    with np.load(path, allow_pickle=False) as stored:
        train, test = ((_scale(stored[f"x_{part}"]), stored[f"y_{part}"]) for part in ("train", "test"))
        return from_arrays("mnist", source, train, test, outputs=10)


def _download(path: Path, allowed: bool) -> None:
    if not allowed:
        raise SpecError(
            f"dataset 'mnist' is not in the cache ({path}) and downloads are not allowed; "
            "allow them (allow_download=True) or use dataset 'digits', which needs no network"
        )
    try:
        fetch(URL, SHA256, path, MOST_BYTES, SILENCE_S, LIMIT_S)
    except SpecError as error:
        raise SpecError(
            f"dataset 'mnist' cannot be had: {error}; or use dataset 'digits', which needs no network"
        ) from error


def _scale(x: np.ndarray) -> np.ndarray:
    return x[..., np.newaxis].astype(np.float32) / 255
