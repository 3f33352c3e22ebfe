"""What a person's data function gives, made a `Dataset`: arrays, a `tf.data` pipeline or an image folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench import functions, registry
from dcbench.datasets._base import TASKS, Dataset, check_outputs, from_arrays
from dcbench.errors import SpecError

if TYPE_CHECKING:
    import tensorflow as tf

KEYS = ("x", "y", "train", "test", "outputs", "task")
FORMS = (
    "arrays (x, y) or ((x, y), (x_test, y_test)), a tf.data.Dataset of single examples (x, y), "
    f"a path of an image folder, or a dict of these by {', '.join(KEYS)}"
)


def from_function(function: Callable[..., Any], args: dict[str, Any], rank: int, size: int) -> Dataset:
    """
    Call a person's function and make its result a dataset.

    Parameters
    ----------
    function : callable
        Takes `args`. Where it also takes ``rank`` and ``size``, a pipeline it gives is this process's own shard;
        else every process reads the whole pipeline and keeps its share of the batches, which costs each of them
        the reading and decoding of all.
    args : dict
    rank, size : int

    Returns
    -------
    Dataset

    Raises
    ------
    SpecError
        If it raises, or gives something that cannot be trained on.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    given = functions.call(function, args, {"rank": rank, "size": size}, f"the dataset function {name!r}")
    takes = inspect.signature(function).parameters
    parts = _parts(name, given)
    train = parts["train"]
    if isinstance(train, str | Path):
        from dcbench.datasets import image_folder

        return image_folder.load(None, False, train)
    if _is_pipeline(train):
        return _from_pipeline(name, parts, sharded="rank" in takes and "size" in takes)
    if not (isinstance(train, tuple | list) and len(train) == 2):
        raise SpecError(f"the dataset function {name!r} gives {type(given).__name__}; give {FORMS}")
    if "rank" in takes and size > 1:
        raise SpecError(
            f"the dataset function {name!r} takes a rank but gives arrays; leave rank and size out of it, "
            "dcbench gives each rank its rows"
        )
    return from_arrays(name, "function", train, _test(name, parts), parts.get("task"), parts.get("outputs"))


def _parts(name: str, given: Any) -> dict[str, Any]:
    """Bring every accepted form into a dict with ``train``."""
    if isinstance(given, dict):
        for key in given:
            if key not in KEYS:
                raise SpecError(
                    f"the dataset function {name!r} gives a dict with {key!r}{registry.nearest(key, KEYS)} "
                    f"(known: {', '.join(KEYS)})"
                )
        if "train" not in given and not {"x", "y"} <= set(given):
            raise SpecError(f"the dataset function {name!r} gives a dict without train data; give {FORMS}")
        _check_stated(name, given)
        return {"train": (given.get("x"), given.get("y")), **given}
    nested = isinstance(given, tuple | list) and len(given) == 2
    if nested and (_is_pipeline(given[0]) or isinstance(given[0], tuple)):
        return {"train": given[0], "test": given[1]}
    return {"train": given}


def _check_stated(name: str, given: dict[str, Any]) -> None:
    task, outputs = given.get("task"), given.get("outputs")
    if task not in (None, *TASKS):
        raise SpecError(f"the dataset function {name!r} states task {task!r}; give one of {', '.join(TASKS)}")
    if outputs is not None and (not isinstance(outputs, int) or isinstance(outputs, bool) or outputs < 1):
        raise SpecError(
            f"the dataset function {name!r} states outputs {outputs!r}; give a positive whole number"
        )


def _is_pipeline(value: Any) -> bool:
    return hasattr(value, "element_spec") and hasattr(value, "cardinality")


def _test(name: str, parts: dict[str, Any]) -> tuple[Any, Any] | None:
    test = parts.get("test")
    if test is None:
        return None
    if _is_pipeline(test):
        _check_elements(name, test)
        pairs = list(test.as_numpy_iterator())
        return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])
    if not (isinstance(test, tuple | list) and len(test) == 2):
        raise SpecError(
            f"the dataset function {name!r} gives {type(test).__name__} as test data; give a pair (x, y)"
        )
    return test[0], test[1]


def _from_pipeline(name: str, parts: dict[str, Any], sharded: bool) -> Dataset:
    train = parts["train"]
    x_spec, y_spec = _check_elements(name, train)
    task = parts.get("task") or ("regression" if y_spec.dtype.is_floating else "classification")
    if task == "regression":
        examples, outputs = _count(name, train), int(np.prod(y_spec.shape.as_list()))
    else:
        examples, outputs = _count_classes(name, train, parts.get("outputs"))
    held_out = _test(name, parts)
    if held_out is not None:
        test = from_arrays(name, "function", held_out, task=task)
        held_out, outputs = (test.x, test.y), max(outputs, test.outputs)  # type: ignore[assignment]
    return Dataset(
        name=name, source="function", task=task, outputs=check_outputs(name, outputs, parts.get("outputs")),
        test=held_out, pipeline=lambda: train, examples=examples, sharded=sharded, shape=tuple(x_spec.shape),
    )  # fmt: skip


def _check_elements(name: str, dataset: tf.data.Dataset) -> tuple[Any, Any]:
    spec = dataset.element_spec
    if not (isinstance(spec, tuple) and len(spec) == 2 and all(hasattr(s, "shape") for s in spec)):
        raise SpecError(
            f"the dataset function {name!r} gives a pipeline of {spec}; give pairs (x, y) of tensors"
        )
    shape = spec[0].shape
    if shape.rank is None or None in shape.as_list() or not shape.rank:
        raise SpecError(
            f"the dataset function {name!r} gives inputs of shape {shape}; give single examples of one fixed "
            "shape (leave out .batch(), set shapes that TensorFlow cannot know)"
        )
    if not spec[1].shape.is_fully_defined():
        raise SpecError(
            f"the dataset function {name!r} gives targets of shape {spec[1].shape}; give a fixed shape"
        )
    return spec[0], spec[1]


def _count(name: str, dataset: tf.data.Dataset) -> int:
    """Return the examples of a pipeline, read once where TensorFlow does not know."""
    known = int(dataset.cardinality())
    if known == -1:
        raise SpecError(
            f"the dataset function {name!r} gives endless data; leave out .repeat(), dcbench repeats it"
        )
    return _some(
        name, known if known >= 0 else int(_reduced(name, dataset, np.int64(0), lambda total, _: total + 1))
    )


def _count_classes(name: str, dataset: tf.data.Dataset, stated: int | None) -> tuple[int, int]:
    """Return the examples and classes of a pipeline, read once unless both are known."""
    import tensorflow as tf

    if int(dataset.cardinality()) == -1 or (stated is not None and int(dataset.cardinality()) >= 0):
        return _count(name, dataset), stated or 0

    def add(state: tuple[tf.Tensor, ...], example: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        y = tf.cast(example[1], tf.int64)
        return state[0] + 1, tf.minimum(state[1], tf.reduce_min(y)), tf.maximum(state[2], tf.reduce_max(y))

    zero = tf.constant(0, tf.int64)
    count, least, most = (int(v) for v in _reduced(name, dataset, (zero, zero, zero), add))
    if least < 0:
        raise SpecError(f"the dataset function {name!r} gives {least} as a class; give whole numbers from 0")
    return _some(name, count), most + 1


def _reduced(name: str, dataset: tf.data.Dataset, start: Any, add: Callable[..., Any]) -> Any:
    """Read a whole pipeline once."""
    return functions.call(
        lambda: dataset.reduce(start, add), {}, None, f"the pipeline of the dataset function {name!r}"
    )


def _some(name: str, count: int) -> int:
    if not count:
        raise SpecError(f"the dataset function {name!r} gives no examples; give at least one")
    return count
