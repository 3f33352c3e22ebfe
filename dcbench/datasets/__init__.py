"""Training data by name or from a person's function, and the one order in which all backends read it.

A module here without a leading underscore is a dataset: its ``load(cache, allow_download, **args)`` gives a
`Dataset`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcbench import functions, registry
from dcbench.datasets._base import Dataset, from_arrays
from dcbench.datasets._batches import batches
from dcbench.datasets._functions import from_function
from dcbench.datasets._order import Order, digest

__all__ = ["Dataset", "Order", "batches", "digest", "from_arrays", "load"]


def load(
    dataset: str | Callable[..., Any],
    args: dict[str, Any],
    cache: Path,
    allow_download: bool = False,
    rank: int = 0,
    size: int = 1,
) -> Dataset:
    """
    Load a dataset.

    Parameters
    ----------
    dataset : str or callable
        Registered name, ``file.py:function`` or a function. A function that gives a `tf.data` pipeline should take
        ``rank`` and ``size`` and give its own shard: without them every process reads all of it.
    args : dict
        Keywords for it.
    cache : Path
        Folder for files worth keeping.
    allow_download : bool
        Whether the network may be used.
    rank, size : int
        This process among those that share each global batch.

    Returns
    -------
    Dataset

    Raises
    ------
    SpecError
        If the data cannot be had, or cannot be trained on.
    """
    if isinstance(dataset, str) and functions.is_file_function(dataset):
        dataset = functions.load_file_function(dataset)
    if callable(dataset):
        return from_function(dataset, args, rank, size)
    loader = registry.load("dataset", dataset).load
    offered = {"cache": Path(cache), "allow_download": allow_download}
    loaded: Dataset = functions.call(loader, args, offered, f"dataset {dataset!r}")
    return loaded
