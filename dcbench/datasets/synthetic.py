"""Random inputs of any shape with targets that can be learned: what a random linear teacher says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcbench.datasets._base import TASKS, Arrays, Dataset, check_memory, from_arrays
from dcbench.errors import SpecError

INPUT_SHAPE = (32, 32, 3)  # unless another shape is asked for
TEST_FRACTION = 0.25


def load(
    cache: Path,
    allow_download: bool = False,
    shape: Sequence[int] = INPUT_SHAPE,
    outputs: int = 10,
    examples: int = 1024,
    task: str = "classification",
    seed: int = 0,
) -> Dataset:
    """
    Draw a dataset.

    Parameters
    ----------
    cache, allow_download
        Not used.
    shape : sequence of int
        Shape of one input.
    outputs : int
        Classes, or values to predict.
    examples : int
        Training examples; a quarter as many more are drawn to test.
    task : {"classification", "regression"}
    seed : int

    Returns
    -------
    Dataset
        Standard normal float32 inputs.

    Raises
    ------
    SpecError
        For an argument out of range, or data that take more than half of the memory that may be used.
    """
    _check(shape, outputs, examples, task, seed)
    rng = np.random.default_rng(seed)
    features = math.prod(shape)
    teacher = rng.standard_normal((features, outputs), np.float32) / math.sqrt(features)

    def draw(count: int) -> Arrays:
        x = rng.standard_normal((count, features), np.float32)
        said = x @ teacher
        y = said if task == "regression" else said.argmax(1).astype(np.int32)
        return x.reshape(count, *shape), y

    train, test = draw(examples), draw(math.ceil(examples * TEST_FRACTION))
    return from_arrays("synthetic", "synthetic", train, test, task, outputs)


def _check(shape: Sequence[int], outputs: int, examples: int, task: str, seed: int) -> None:
    is_shape = isinstance(shape, list | tuple) and len(shape) > 0
    numbers = {"outputs": outputs, "examples": examples}
    numbers |= {f"shape[{i}]": n for i, n in enumerate(shape)} if is_shape else {"shape": None}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            found = shape if name == "shape" else value
            raise SpecError(f"dataset 'synthetic' is given {name}={found!r}; give positive whole numbers")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SpecError(f"dataset 'synthetic' is given seed={seed!r}; give a whole number from 0")
    if task not in TASKS:
        raise SpecError(f"dataset 'synthetic' is given task={task!r}; give one of {', '.join(TASKS)}")
    test, features = math.ceil(examples * TEST_FRACTION), math.prod(shape)
    numbers_held = (2 * examples + test) * (features + outputs) + features * outputs  # with the tensors and the teacher
    what = f"the {examples} examples of shape {tuple(shape)} of dataset 'synthetic'"
    check_memory(what, 4 * numbers_held, "ask for fewer")
