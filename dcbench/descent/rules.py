"""Update rules and schedules, written out as formulas that give what Keras's optimizers give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dcbench.errors import SpecError

SCHEDULES = ("fixed", "decay", "warm-up", "cosine")
DECAYS_TO = 0.1  # of the learning rate, over all steps
WARMS_UP_FROM, WARMS_UP_OVER = 0.1, 0.2  # of the learning rate; of all steps
_EPSILON = 1e-7  # as in Keras


@dataclass
class GradientDescent:
    """Step against the gradient: Δ = −η·g."""

    def change(self, g: np.ndarray, rate: float) -> np.ndarray:
        """Return the change of the parameters at the next step for gradient `g` and learning rate η = `rate`."""
        return -rate * g


@dataclass
class Momentum:
    """Keep some of the last step: v ← μ·v − η·g, Δ = v (Polyak 1964)."""

    momentum: float = 0.9
    _v: Any = 0.0

    def change(self, g: np.ndarray, rate: float) -> np.ndarray:
        """Return the change of the parameters at the next step for gradient `g` and learning rate η = `rate`."""
        self._v = self.momentum * self._v - rate * g
        return self._v


@dataclass
class RMSprop:
    """Divide by the size of recent gradients: s ← ρ·s + (1 − ρ)·g², Δ = −η·g / √(s + ε) (Hinton 2012, lecture 6e)."""

    rho: float = 0.9
    _s: Any = 0.0

    def change(self, g: np.ndarray, rate: float) -> np.ndarray:
        """Return the change of the parameters at the next step for gradient `g` and learning rate η = `rate`."""
        self._s = self.rho * self._s + (1 - self.rho) * g**2
        return -rate * g / np.sqrt(self._s + _EPSILON)


@dataclass
class Adam:
    """
    Do both, and correct the averages for their start at zero (Kingma and Ba 2015, section 2).

    m ← β₁·m + (1 − β₁)·g, s ← β₂·s + (1 − β₂)·g², Δ = −η·√(1 − β₂ᵗ)/(1 − β₁ᵗ)·m / (√s + ε) at step t = 1, 2, …
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    _m: Any = 0.0
    _s: Any = 0.0
    _t: int = 0

    def change(self, g: np.ndarray, rate: float) -> np.ndarray:
        """Return the change of the parameters at the next step for gradient `g` and learning rate η = `rate`."""
        self._t += 1
        self._m = self.beta_1 * self._m + (1 - self.beta_1) * g
        self._s = self.beta_2 * self._s + (1 - self.beta_2) * g**2
        correction = np.sqrt(1 - self.beta_2**self._t) / (1 - self.beta_1**self._t)
        return -rate * correction * self._m / (np.sqrt(self._s) + _EPSILON)


RULES = {"gradient descent": GradientDescent, "momentum": Momentum, "RMSprop": RMSprop, "Adam": Adam}


def rates(schedule: str, learning_rate: float, steps: int) -> np.ndarray:
    """
    Return the learning rate of each step.

    Parameters
    ----------
    schedule : {"fixed", "decay", "warm-up", "cosine"}
        The same throughout; falling exponentially to a tenth; rising linearly from a tenth over the first fifth of the
        steps; falling as half a cosine to zero (Loshchilov and Hutter 2017, equation 5, without restarts).
    learning_rate : float
        The largest.
    steps : int

    Returns
    -------
    ndarray of shape (steps,)

    Raises
    ------
    SpecError
        If the schedule is unknown.

    Examples
    --------
    >>> rates("cosine", 0.2, 4).round(3).tolist()
    [0.2, 0.171, 0.1, 0.029]
    """
    if schedule not in SCHEDULES:
        raise SpecError(f"there is no schedule {schedule!r}; choose one of {', '.join(SCHEDULES)}")
    done = np.arange(steps) / steps
    if schedule == "decay":
        return learning_rate * DECAYS_TO**done
    if schedule == "warm-up":
        rise = np.minimum(done / WARMS_UP_OVER, 1)
        return learning_rate * (WARMS_UP_FROM + (1 - WARMS_UP_FROM) * rise)
    if schedule == "cosine":
        return learning_rate * 0.5 * (1 + np.cos(np.pi * done))
    return np.full(steps, float(learning_rate))
