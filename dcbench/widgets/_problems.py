"""What explorers of small problems share: a problem to choose, a learning rate and a number of steps."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets
import traitlets

from dcbench.descent import Problem
from dcbench.errors import SpecError
from dcbench.widgets._stage import Stage

_LOG_LOW = -3.0  # power of ten of the learning rate


class ProblemStage(Stage):
    """
    A stage for what training does on one of several problems.

    Parameters
    ----------
    asked : str
        Name of the function that makes the explorer, for its error.
    problems : mapping of str to Problem
    learning_rate : float
    steps : int

    Raises
    ------
    SpecError
        If there is no problem.
    """

    problem = traitlets.Unicode()
    learning_rate = traitlets.Float()
    steps = traitlets.Int()

    def __init__(self, asked: str, problems: Mapping[str, Problem], learning_rate: float, steps: int) -> None:
        super().__init__()
        if not problems:
            raise SpecError(f"{asked} needs a problem, and was given none; give descent.linear() for one")
        self._problems = dict(problems)
        self.problem, self.learning_rate, self.steps = next(iter(self._problems)), learning_rate, steps

    def _rate_slider(self, log_high: float) -> ipywidgets.FloatLogSlider:
        """Return the control of the learning rate, up to a power of ten."""
        shown = {"readout_format": ".3g", "continuous_update": False}
        return ipywidgets.FloatLogSlider(min=_LOG_LOW, max=log_high, step=0.05, **shown)

    def _steps_slider(self) -> ipywidgets.IntSlider:
        return ipywidgets.IntSlider(min=10, max=300, step=10, continuous_update=False)
