"""What a loaded dataset is: arrays in memory or a `tf.data` pipeline, its task and where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench import hardware
from dcbench.errors import SpecError

if TYPE_CHECKING:
    import tensorflow as tf

TASKS = ("classification", "regression")
SAMPLE_EXAMPLES = 256
Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """
    Training data of one process, and its test split.

    Parameters
    ----------
    name : str
    source : {"bundled", "cache", "download", "synthetic", "function", "folder"}
        Where the data came from in this run.
    task : {"classification", "regression"}
    outputs : int
        Classes, or values predicted for each example.
    x, y : numpy.ndarray or None
        Training inputs (examples, ...) and class numbers (examples,) or values (examples, outputs); None
        where `pipeline` gives the examples.
    test : tuple of numpy.ndarray or None
        (x, y) of the test split.
    pipeline : callable or None
        Returns a `tf.data.Dataset` of single examples (x, y).
    examples : int
        Training examples; of this process's shard where `sharded`.
    sharded : bool
        Whether `pipeline` gives this process's own shard only.
    shape : tuple of int, optional
        Shape of one input of `pipeline`.
    """

    name: str
    source: str
    task: str
    outputs: int
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    test: Arrays | None = None
    pipeline: Callable[[], tf.data.Dataset] | None = None
    examples: int = 0
    sharded: bool = False
    shape: tuple[int, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return self.shape if self.x is None else tuple(self.x.shape[1:])

    @cached_property
    def tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` and `y` as tensors in host memory, converted once."""
        import tensorflow as tf

        with tf.device("CPU:0"):
            return tf.convert_to_tensor(self.x), tf.convert_to_tensor(self.y)

    def sample_digest(self) -> str:
        """
        Return the SHA-256 of a sample of the training examples.

        It is equal on processes that hold the same data in the same order, and differs between shards.
        """
        if self.x is not None and self.y is not None:
            rows = slice(None, None, max(1, len(self.x) // SAMPLE_EXAMPLES))
            return hashlib.sha256(self.x[rows].tobytes() + self.y[rows].tobytes()).hexdigest()
        assert self.pipeline is not None  # a Dataset has arrays or a pipeline
        found = hashlib.sha256()
        for x, y in self.pipeline().take(SAMPLE_EXAMPLES).as_numpy_iterator():
            found.update(x.tobytes() + y.tobytes())
        return found.hexdigest()

    def total_examples(self, size: int) -> int:
        """Return the training examples of all `size` processes together."""
        return self.examples * size if self.sharded else self.examples


def from_arrays(
    name: str,
    source: str,
    train: tuple[Any, Any],
    test: tuple[Any, Any] | None = None,
    task: str | None = None,
    outputs: int | None = None,
) -> Dataset:
    """
    Make a dataset of arrays: checked, in the types that training uses.

    Whole numbers as `y` are class numbers; other numbers are values to predict.

    Raises
    ------
    SpecError
        Naming the array that cannot be trained on, and why.
    """
    x, y = _inputs(name, train[0]), np.asarray(train[1])
    task = task or ("regression" if y.dtype.kind == "f" else "classification")
    y, found = _targets(name, x, y, task)
    held_out = None
    if test is not None:
        x_test = _inputs(name, test[0])
        y_test, in_test = _targets(name, x_test, np.asarray(test[1]), task)
        if x_test.shape[1:] != x.shape[1:]:
            raise SpecError(
                f"dataset {name!r} gives training inputs of shape {x.shape[1:]} and test inputs of shape "
                f"{x_test.shape[1:]}; make them equal"
            )
        held_out, found = (x_test, y_test), max(found, in_test)
    return Dataset(
        name=name,
        source=source,
        task=task,
        outputs=check_outputs(name, found, outputs),
        x=x,
        y=y,
        test=held_out,
        examples=len(x),
    )


def check_memory(what: str, needed_bytes: float, advice: str) -> None:
    """
    Refuse data that would take more than half of the memory that this process may use.

    Parameters
    ----------
    what : str
        The data, in the plural.
    needed_bytes : float
        At the peak; training inputs count twice, as arrays and as `Dataset.tensors`.
    advice : str
        What to do instead.
    """
    usable_bytes = hardware.usable_memory_bytes()
    if needed_bytes > usable_bytes / 2:
        raise SpecError(
            f"{what} take {needed_bytes / 1e9:.3g} GB at the peak, more than half of the {usable_bytes / 1e9:.3g} GB "
            f"of memory that may be used here; {advice}"
        )


def check_outputs(name: str, found: int, stated: int | None) -> int:
    """Return the number of outputs that was stated, if the labels fit into it, else the number found."""
    if stated is not None and stated < found:
        raise SpecError(
            f"dataset {name!r} states {stated} outputs but needs {found}; raise the number of outputs"
        )
    return stated or found


def _inputs(name: str, given: Any) -> np.ndarray:
    x = np.asarray(given)
    if x.dtype.kind not in "fiub" or x.ndim < 2 or not len(x):
        raise SpecError(
            f"dataset {name!r} gives inputs of type {x.dtype} and shape {x.shape}; "
            "give numbers of shape (examples, ...)"
        )
    x = np.ascontiguousarray(x, np.float32 if x.dtype.kind in "fb" else x.dtype)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise SpecError(
            f"dataset {name!r} gives inputs that are not finite (NaN or infinity); remove or replace them"
        )
    return x


def _targets(name: str, x: np.ndarray, y: np.ndarray, task: str) -> tuple[np.ndarray, int]:
    """Return the targets in training's type, and the classes or values an example needs."""
    if y.dtype.kind not in "fiub" or y.ndim < 1:
        raise SpecError(f"dataset {name!r} gives targets of type {y.dtype} and shape {y.shape}; give numbers")
    if len(x) != len(y):
        raise SpecError(
            f"dataset {name!r} gives {len(x)} inputs and {len(y)} targets; give one target an input"
        )
    if y.ndim == 2 and y.shape[1] > 1 and np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all():
        raise SpecError(
            f"dataset {name!r} gives one-hot targets of shape {y.shape}; give class numbers 0, 1, …"
        )
    if task == "regression":
        y = np.ascontiguousarray(y.reshape(len(y), -1), np.float32)
        if not np.isfinite(y).all():
            raise SpecError(f"dataset {name!r} gives targets that are not finite; remove or replace them")
        return y, y.shape[1]
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.dtype.kind == "f" or (y.size and y.min() < 0):
        raise SpecError(f"dataset {name!r} gives {y.min()} as a class; give whole numbers from 0")
    return np.ascontiguousarray(y, np.int32), int(y.max()) + 1
