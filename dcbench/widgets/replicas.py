"""Explore copies of a model on several devices: how they share the examples, how often they average, what becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets
import numpy as np
import traitlets

from dcbench import figures, replicas
from dcbench.descent import Problem
from dcbench.errors import SpecError
from dcbench.widgets._problems import ProblemStage
from dcbench.widgets._stage import THEMES

EVERY = {"every step": 1, "every 5 steps": 5, "every 20 steps": 20, "never": 0}
SHARES = ("as they come", "sorted by x")
_LOG_HIGH = 0.0  # power of ten of the learning rate
_COUNTS = (1, 2, 4, 8, 16)
_CHOICES = ["problem", "devices", "averaging", "examples", "learning_rate", "steps", "theme"]


class ReplicaExplorer(ProblemStage):
    """
    Controls over `figures.plot_replicas`; each trait is a control, and can be set from code.

    Attributes
    ----------
    problem : str
        Name of one of the problems given.
    devices : int
    averaging : str
        One of ``EVERY``.
    examples : str
        How the devices share them, one of ``SHARES``.
    learning_rate : float
    steps : int
    """

    devices = traitlets.Int(2)
    averaging = traitlets.Enum(tuple(EVERY), "every step")
    examples = traitlets.Enum(SHARES, "as they come")

    def __init__(self, problems: Mapping[str, Problem], learning_rate: float, steps: int) -> None:
        super().__init__("explore_replicas", problems, learning_rate, steps)
        self.children = (self._controls(), self._place)
        self.observe(self._refresh, _CHOICES)
        self._refresh()

    def __repr__(self) -> str:
        return f"copies of {len(self._problems)} models to explore: interactive in JupyterLab"

    @property
    def selected(self) -> np.ndarray:
        """The paths of the copies with the present choices, (devices, steps + 1, parameters)."""
        how = EVERY[self.averaging], self.examples == SHARES[1]
        return replicas.train(self._problems[self.problem], self.devices, self.learning_rate, self.steps, *how)

    def _controls(self) -> ipywidgets.HBox:
        fewest = min(len(p.x) for p in self._problems.values())
        return self._row(
            {
                "problem": list(self._problems),
                "devices": [n for n in _COUNTS if n <= fewest],
                "averaging": list(EVERY),
                "examples": SHARES,
                "learning_rate": self._rate_slider(_LOG_HIGH),
                "steps": self._steps_slider(),
                "theme": THEMES,
            }
        )

    def _refresh(self, _change: Any = None) -> None:
        self._show(self._draw)

    def _draw(self) -> figures.Figure:
        problem = self._problems.get(self.problem)
        if problem is None:
            raise SpecError(f"there is no problem {self.problem!r}; choose one of {', '.join(self._problems)}")
        alone = replicas.train(problem, 1, self.learning_rate, self.steps)[0]
        return figures.plot_replicas(problem, self.selected, alone)


def explore_replicas(problems: Mapping[str, Problem], learning_rate: float = 0.05, steps: int = 60) -> ReplicaExplorer:
    """
    Explore with controls what copies of a model on several devices do, averaging or not.

    Parameters
    ----------
    problems : mapping of str to Problem
        To choose from, by the name to show.
    learning_rate : float
    steps : int

    Returns
    -------
    ReplicaExplorer
        Shown by JupyterLab; ``.figure`` is the static figure, ``.selected`` the paths behind it.

    Raises
    ------
    SpecError
        If there is no problem. A choice that cannot be computed is explained in the figure's place.

    Examples
    --------
    >>> explore_replicas({})
    Traceback (most recent call last):
    dcbench.errors.SpecError: explore_replicas needs a problem, and was given none; give descent.linear() for one
    """
    return ReplicaExplorer(problems, learning_rate, steps)
