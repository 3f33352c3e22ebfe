"""Explore what classifiers say about the test split: which model, and what to see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.widgets._stage import THEMES, Stage

CONFUSION, SCORES, MISTAKES = "confusion matrix", "scores by class", "mistakes"


class PredictionExplorer(Stage):
    """
    Controls over `figures.plot_confusion`, `plot_scores` and `plot_mistakes`; each trait can be set from code.

    Attributes
    ----------
    model : str
    view : {"confusion matrix", "scores by class", "mistakes"}
    """

    model = traitlets.Unicode()
    view = traitlets.Enum((CONFUSION, SCORES, MISTAKES), CONFUSION)

    def __init__(self, images: np.ndarray, truth: Sequence[int], predicted: Mapping[str, Sequence[int]]) -> None:
        if not predicted:
            raise SpecError("explore_predictions needs predictions of a model, and was given none; give them by name")
        super().__init__()
        self._images, self._truth, self._predicted = images, truth, dict(predicted)
        self.set_trait("model", next(iter(self._predicted)))
        views = (CONFUSION, SCORES, MISTAKES)
        self.children = (self._row({"model": list(self._predicted), "view": views, "theme": THEMES}), self._place)
        self.observe(self._refresh, ["model", "view", "theme"])
        self._refresh()

    def __repr__(self) -> str:
        return f"predictions of {len(self._predicted)} models to explore: interactive in JupyterLab"

    def _refresh(self, _change: Any = None) -> None:
        self._show(self._draw)

    def _draw(self) -> figures.Figure:
        found = self._predicted[self.model]
        if self.view == MISTAKES:
            return figures.plot_mistakes(self._images, self._truth, found, self.model)
        plot = figures.plot_confusion if self.view == CONFUSION else figures.plot_scores
        return plot(self._truth, found, self.model)


def explore_predictions(
    images: np.ndarray, truth: Sequence[int], predicted: Mapping[str, Sequence[int]]
) -> PredictionExplorer:
    """
    Explore the predictions of models with controls.

    Parameters
    ----------
    images : array
        Shape (examples, height, width, channels).
    truth : sequence of int
        Class numbers, shape (examples,).
    predicted : mapping of str to sequence of int
        By model, for the same examples.

    Returns
    -------
    PredictionExplorer
        Shown by JupyterLab; ``.figure`` is the static figure.

    Raises
    ------
    SpecError
        If there are no predictions. A view that cannot be drawn is explained in the figure's place.

    Examples
    --------
    >>> explore_predictions(np.zeros((1, 2, 2, 1)), [0], {})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    dcbench.errors.SpecError: explore_predictions needs predictions of a model, and was given none; ...
    """
    return PredictionExplorer(images, truth, predicted)
