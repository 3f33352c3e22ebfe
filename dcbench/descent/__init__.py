"""Gradient descent on problems small enough to draw: update rules, schedules, and the path that they take.

The formulas are written out with NumPy, so that they can be read, and give what Keras's optimizers give.
"""

from dcbench.descent.problems import Linear, Problem, Sine, linear, sine
from dcbench.descent.rules import DECAYS_TO, RULES, SCHEDULES, WARMS_UP_FROM, WARMS_UP_OVER, rates
from dcbench.descent.walking import Descent, descend

__all__ = [
    "DECAYS_TO", "RULES", "SCHEDULES", "WARMS_UP_FROM", "WARMS_UP_OVER", "Descent", "Linear", "Problem", "Sine",
    "descend", "linear", "rates", "sine",
]  # fmt: skip
