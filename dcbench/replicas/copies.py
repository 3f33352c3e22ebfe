"""Copies of a small model on several devices, each with its own part of the examples, that average or go alone.

They are computed by formula, as in `descent`, one after another; no device is used.
"""

from __future__ import annotations

import numpy as np

from dcbench.descent import Problem
from dcbench.errors import SpecError

_TOO_LARGE = 1e12  # a parameter beyond this has diverged; it stays there


def shards(problem: Problem, devices: int, by_input: bool = False) -> list[np.ndarray]:
    """
    Deal the examples of a problem to devices, to each as many.

    Parameters
    ----------
    problem : Problem
    devices : int
    by_input : bool
        Deal them in the order of their input x, so that each device sees another stretch of it; else as they come.

    Returns
    -------
    list of ndarray of int
        Which examples each device has: contiguous rows, as `MirroredStrategy` cuts a batch.

    Raises
    ------
    SpecError
        If they cannot be shared equally.

    Examples
    --------
    >>> from dcbench.descent import Linear
    >>> line = Linear(np.array([3.0, 1.0, 2.0, 0.0]), np.zeros(4))
    >>> [part.tolist() for part in shards(line, 2)], [part.tolist() for part in shards(line, 2, by_input=True)]
    ([[0, 1], [2, 3]], [[3, 1], [2, 0]])
    """
    examples = len(problem.x)
    if devices < 1 or examples % devices:
        raise SpecError(f"{examples} examples cannot be shared equally by devices={devices}; choose a divisor of them")
    order = np.argsort(problem.x, kind="stable") if by_input else np.arange(examples)
    return np.split(order, devices)


def train(
    problem: Problem,
    devices: int = 2,
    learning_rate: float = 0.1,
    steps: int = 60,
    average_every: int = 1,
    by_input: bool = False,
) -> np.ndarray:
    """
    Train one copy of a model on each device by gradient descent, and average the copies every few steps.

    Parameters
    ----------
    problem : Problem
    devices : int
    learning_rate : float
    steps : int
    average_every : int
        Steps between averages; 1 is what `MirroredStrategy` and Horovod do, 0 never averages.
    by_input : bool
        As for `shards`.

    Returns
    -------
    ndarray of shape (devices, steps + 1, parameters)
        The parameters of each copy before the first and after each step.

    Raises
    ------
    SpecError
        If a number is out of range, or the examples cannot be shared equally.

    Notes
    -----
    Copies that are equal before a step have equal parameters p after it too, averaged as parameters or as gradients:
    1/N · Σ (p − η·gᵢ) = p − η · 1/N · Σ gᵢ.

    Examples
    --------
    ŷ = w·x at x = 1, with y = 0 on one device and y = 2 on the other: slopes are 2·(w − y).

    >>> from dcbench.descent import Linear
    >>> two = Linear(np.ones(2), np.array([0.0, 2.0]))
    >>> train(two, learning_rate=0.25, steps=1, average_every=0)[:, :, 0].tolist()
    [[-1.0, -0.75], [-1.0, 0.25]]
    >>> train(two, learning_rate=0.25, steps=1)[:, :, 0].tolist()
    [[-1.0, -0.25], [-1.0, -0.25]]
    """
    if not 0 < learning_rate < np.inf or steps < 1 or average_every < 0:
        raise SpecError(
            f"learning_rate={learning_rate}, steps={steps}, average_every={average_every} cannot be trained with; "
            "give a learning rate above 0, at least 1 step, and 0 or more steps between averages"
        )
    parts = shards(problem, devices, by_input)
    at = np.tile(np.asarray(problem.start, float), (devices, 1))
    path = [at]
    for step in range(1, steps + 1):
        at = at - learning_rate * np.stack([problem.gradient(p, part) for p, part in zip(at, parts, strict=True)])
        at = np.clip(at, -_TOO_LARGE, _TOO_LARGE)
        if average_every and step % average_every == 0:
            at = np.tile(at.mean(axis=0), (devices, 1))
        path.append(at)
    return np.stack(path, axis=1)


def spread(paths: np.ndarray) -> np.ndarray:
    """
    Return how far the copies are apart at each step: the largest distance of one from their mean.

    Parameters
    ----------
    paths : ndarray of shape (devices, steps + 1, parameters)

    Returns
    -------
    ndarray of shape (steps + 1,)
        In units of the parameters; exactly 0 where all are equal bit for bit.

    Examples
    --------
    >>> spread(np.array([[[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [-3.0, -4.0]]])).tolist()
    [0.0, 5.0]
    """
    apart = np.linalg.norm(paths - paths.mean(axis=0), axis=-1).max(axis=0)
    return np.where((paths == paths[:1]).all(axis=(0, 2)), 0.0, apart)  # a mean of equal numbers may be rounded
