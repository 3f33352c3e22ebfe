"""The path of a descent: a problem, an update rule and a schedule, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcbench.descent.problems import Problem
from dcbench.descent.rules import RULES, rates
from dcbench.errors import SpecError

_TOO_LARGE = 1e12  # a parameter beyond this has diverged


@dataclass(frozen=True, eq=False)
class Descent:
    """
    The path of one descent.

    Attributes
    ----------
    problem : Problem
    path : ndarray of shape (steps + 1, parameters)
        Parameters before the first and after each step; it ends where they grow beyond all bounds.
    losses : ndarray of shape (steps + 1,)
        Mean squared error over all examples at each point of the path.
    rates : ndarray of shape (steps,)
        Learning rate of each step.
    batch : int
        Examples a step.
    """

    problem: Problem
    path: np.ndarray
    losses: np.ndarray
    rates: np.ndarray
    batch: int

    @property
    def ended_higher(self) -> bool:
        """Whether it ended higher than it began, as with too large a learning rate."""
        return not self.losses[-1] <= self.losses[0]

    def steps_to(self, loss: float) -> int | None:
        """
        Return after how many steps the loss was at most `loss` and stayed there; None where it ended above.

        A path that overshoots may cross a low loss early, and leave it again.
        """
        above = np.flatnonzero(~(self.losses <= loss))
        after = int(above[-1]) + 1 if above.size else 0
        return after if after < len(self.losses) else None


def descend(
    problem: Problem,
    rule: str = "gradient descent",
    learning_rate: float = 0.1,
    schedule: str = "fixed",
    batch: int | None = None,
    steps: int = 60,
    seed: int = 0,
    start: Any = None,
) -> Descent:
    """
    Go down the loss of a problem.

    Parameters
    ----------
    problem : Problem
    rule : {"gradient descent", "momentum", "RMSprop", "Adam"}
    learning_rate : float
        The largest of the schedule.
    schedule : str
        As for `rates`.
    batch : int, optional
        Examples a step, drawn without replacement, epoch after epoch; all of them unless given.
    steps : int
    seed : int
        Of the order of the examples.
    start : sequence of float, optional
        Parameters to start from; those of the problem unless given.

    Raises
    ------
    SpecError
        If a name is unknown or a number out of range.

    Examples
    --------
    A parabola: y = w·x at x = 1, with slope 2·(w − 1); each step of 0.25 halves the distance to w = 1.

    >>> from dcbench.descent import Linear
    >>> one = Linear(np.array([1.0]), np.array([1.0]))
    >>> descend(one, learning_rate=0.25, steps=2, start=(0.0, 0.0)).path.tolist()
    [[0.0, 0.0], [0.5, 0.5], [0.5, 0.5]]
    """
    if rule not in RULES:
        raise SpecError(f"there is no update rule {rule!r}; choose one of {', '.join(RULES)}")
    batch = len(problem.x) if batch is None else batch
    _check(learning_rate=learning_rate, steps=steps, batch=batch)
    if batch > len(problem.x):
        raise SpecError(f"batch={batch} is more than the {len(problem.x)} examples there are; give at most these")
    update, planned = RULES[rule](), rates(schedule, learning_rate, steps)
    path, batches = [np.array(problem.start if start is None else start, float)], _batches(len(problem.x), batch, seed)
    for rate in planned:
        path.append(path[-1] + update.change(problem.gradient(path[-1], next(batches)), rate))
        if not np.all(np.abs(path[-1]) < _TOO_LARGE):
            break
    walked = np.array(path)
    return Descent(problem, walked, problem.loss(walked), planned, batch)


def _batches(examples: int, batch: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the examples of each step: each epoch in a new order, its incomplete last batch left out."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(examples)
        yield from (order[k : k + batch] for k in range(0, examples - batch + 1, batch))


def _check(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < np.inf:
            raise SpecError(f"{name}={value} is out of range; give a number above 0")
