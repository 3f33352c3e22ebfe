"""Explore gradient descent: update rule, learning rate, schedule and batch, and the path that they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets
import traitlets

from dcbench import figures
from dcbench.descent import RULES, SCHEDULES, Descent, Problem, descend
from dcbench.widgets._problems import ProblemStage
from dcbench.widgets._stage import THEMES

_LOG_HIGH = 0.5  # power of ten of the learning rate
_CHOICES = ["problem", "rule", "schedule", "learning_rate", "batch", "start", "steps", "theme"]


class DescentExplorer(ProblemStage):
    """
    Controls over `figures.plot_descent`; each trait is a control, and can be set from code.

    Attributes
    ----------
    problem : str
        Name of one of the problems given.
    rule, schedule : str
        As for `descent.descend`.
    learning_rate : float
    batch : int
        Examples a step; at most all of the problem's.
    start : float
        First parameter to start from.
    steps : int
    """

    rule = traitlets.Enum(tuple(RULES), "gradient descent")
    schedule = traitlets.Enum(SCHEDULES, "fixed")
    batch = traitlets.Int(1)
    start = traitlets.Float()

    def __init__(self, problems: Mapping[str, Problem], learning_rate: float, steps: int) -> None:
        super().__init__("explore_descent", problems, learning_rate, steps)
        self._note = ipywidgets.Label()
        self._make_controls()
        self._take_problem()
        self.observe(self._take_problem, "problem")
        self.observe(self._refresh, _CHOICES)
        self._refresh()

    def __repr__(self) -> str:
        return f"gradient descent on {len(self._problems)} problems to explore: interactive in JupyterLab"

    @property
    def selected(self) -> Descent:
        """The descent with the present choices."""
        problem = self._problems[self.problem]
        start = (self.start, *problem.start[1:])
        chosen = (self.rule, self.learning_rate, self.schedule, min(self.batch, len(problem.x)), self.steps)
        return descend(problem, *chosen, start=start)

    def _make_controls(self) -> None:
        self._batch = ipywidgets.IntSlider(min=1, continuous_update=False)
        self._start = ipywidgets.FloatSlider(step=0.1, continuous_update=False)
        picks = {"problem": list(self._problems), "rule": list(RULES), "schedule": SCHEDULES, "theme": THEMES}
        sliders = {"learning_rate": self._rate_slider(_LOG_HIGH), "batch": self._batch, "start": self._start}
        sliders["steps"] = self._steps_slider()
        self.children = (self._row(picks), self._row(sliders), self._note, self._place)

    def _take_problem(self, _change: Any = None) -> None:
        problem = self._problems[self.problem]
        low, high = problem.window[0]
        self._batch.max = len(problem.x)
        self._start.min, self._start.max = min(low, self._start.max), max(high, self._start.min)
        self._start.min, self._start.max = low, high
        self._start.description = f"start of {problem.parameters[0]}"
        with self.hold_trait_notifications():
            self.batch, self.start = len(problem.x), problem.start[0]

    def _refresh(self, _change: Any = None) -> None:
        self._note.value = ""
        self._show(self._draw)

    def _draw(self) -> figures.Figure:
        descent = self.selected
        self._note.value = _said(descent)
        return figures.plot_descent({self.rule: descent})


def _said(descent: Descent) -> str:
    """Say in a line where a descent ended."""
    names = descent.problem.parameters
    ends = ", ".join(f"{name} = {value:.3g}" for name, value in zip(names, descent.path[-1], strict=True))
    walked = len(descent.path) - 1
    if descent.ended_higher:
        return f"after {walked} steps higher than in the beginning: try a smaller learning rate"
    return f"loss {descent.losses[-1]:.3g} at {ends} after {walked} steps of {descent.batch} examples"


def explore_descent(problems: Mapping[str, Problem], learning_rate: float = 0.1, steps: int = 60) -> DescentExplorer:
    """
    Explore gradient descent with controls.

    Parameters
    ----------
    problems : mapping of str to Problem
        To choose from, by the name to show.
    learning_rate : float
    steps : int

    Returns
    -------
    DescentExplorer
        Shown by JupyterLab; ``.figure`` is the static figure, ``.selected`` the descent behind it.

    Raises
    ------
    SpecError
        If there is no problem. A choice that cannot be computed is explained in the figure's place.

    Examples
    --------
    >>> explore_descent({})
    Traceback (most recent call last):
    dcbench.errors.SpecError: explore_descent needs a problem, and was given none; give descent.linear() for one
    """
    return DescentExplorer(problems, learning_rate, steps)
