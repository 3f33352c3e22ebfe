"""Problems small enough to draw: examples, a model of one or two parameters, its loss and gradient by formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dcbench.errors import SpecError


@dataclass(frozen=True, eq=False)
class Problem:
    """
    Examples, a model of one or two parameters, and its mean squared error.

    Attributes
    ----------
    x, y : ndarray of shape (examples,)
        Inputs and the outputs to predict.
    """

    x: np.ndarray
    y: np.ndarray

    name: ClassVar[str]
    formula: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    start: ClassVar[tuple[float, ...]]
    window: ClassVar[tuple[tuple[float, float], ...]]  # of each parameter, to draw

    def predict(self, at: Any, x: np.ndarray) -> np.ndarray:
        """Return the model's outputs (…, examples) for parameters (…, parameters): the forward formula."""
        raise NotImplementedError

    def slopes(self, at: Any, x: np.ndarray) -> np.ndarray:
        """Return how much each output changes with each parameter, (parameters, examples)."""
        raise NotImplementedError

    def loss(self, at: Any) -> Any:
        """Return the mean squared error (…) over all examples for parameters (…, parameters)."""
        return np.mean((self.predict(at, self.x) - self.y) ** 2, axis=-1)

    def gradient(self, at: Any, chosen: Any = slice(None)) -> np.ndarray:
        """
        Return the gradient of the mean squared error over the chosen examples: the backward formula.

        Parameters
        ----------
        at : sequence of float
            Parameters.
        chosen : slice or ndarray of int
            Which examples; all of them unless given.

        Returns
        -------
        ndarray of shape (parameters,)
            2 · mean((ŷ − y) · ∂ŷ/∂parameter), by the chain rule.
        """
        x, y = self.x[chosen], self.y[chosen]
        return 2 * np.mean((self.predict(at, x) - y) * self.slopes(at, x), axis=-1)


class Linear(Problem):
    """A straight line, ŷ = w·x + b: its loss is a bowl with one lowest point."""

    name, formula = "linear", "ŷ = w·x + b"
    parameters, start, window = ("w", "b"), (-1.0, 0.5), ((-1.6, 3.6), (-2.8, 2.0))

    def predict(self, at: Any, x: np.ndarray) -> np.ndarray:
        """Return w·x + b."""
        at = np.asarray(at, float)
        return at[..., 0, None] * x + at[..., 1, None]

    def slopes(self, at: Any, x: np.ndarray) -> np.ndarray:
        """Return ∂ŷ/∂w = x and ∂ŷ/∂b = 1."""
        return np.stack([x, np.ones_like(x)])


class Sine(Problem):
    """A wave, ŷ = sin(θ·x): its loss has several valleys, and only one of them is right."""

    name, formula = "sine", "ŷ = sin(θ·x)"
    parameters, start, window = ("θ",), (1.0,), ((-1.0, 6.0),)

    def predict(self, at: Any, x: np.ndarray) -> np.ndarray:
        """Return sin(θ·x)."""
        return np.sin(np.asarray(at, float)[..., 0, None] * x)

    def slopes(self, at: Any, x: np.ndarray) -> np.ndarray:
        """Return ∂ŷ/∂θ = x·cos(θ·x)."""
        return np.stack([x * np.cos(at[0] * x)])


def linear(examples: int = 64, noise: float = 0.4, seed: int = 0) -> Linear:
    """Return examples of y = 2·x − 1 with normal noise, x uniform from 0 to 2."""
    random = _random(examples, noise, seed)
    x = random.uniform(0, 2, examples)
    return Linear(x, 2 * x - 1 + random.normal(0, noise, examples))


def sine(examples: int = 64, noise: float = 0.1, seed: int = 0) -> Sine:
    """Return examples of y = sin(2.5·x) with normal noise, x uniform from 0 to 3."""
    random = _random(examples, noise, seed)
    x = random.uniform(0, 3, examples)
    return Sine(x, np.sin(2.5 * x) + random.normal(0, noise, examples))


def _random(examples: int, noise: float, seed: int) -> np.random.Generator:
    if examples < 1:
        raise SpecError(f"examples={examples} is out of range; give at least 1")
    if not 0 <= noise < np.inf:
        raise SpecError(f"noise={noise} is no standard deviation; give 0 or more")
    return np.random.default_rng(seed)
