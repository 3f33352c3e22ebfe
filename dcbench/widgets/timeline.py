"""Explore a timeline step by step: which rank is waited for, and where an exchange's time goes."""

from __future__ import annotations

from typing import Any

import ipywidgets
import traitlets

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.figures.timeline import typical_step
from dcbench.record import Record
from dcbench.timeline import Timeline
from dcbench.widgets._stage import THEMES, Stage


class TimelineExplorer(Stage):
    """
    Controls over `figures.plot_timeline`; each trait is a control, and can be set from code.

    Attributes
    ----------
    step : int
        Counted from 0, warm-up included; the one of median duration at first.
    """

    step = traitlets.Int(0)

    def __init__(self, timeline: Timeline, record: Record | None = None) -> None:
        if not isinstance(timeline, Timeline):
            kind = type(timeline).__name__
            raise SpecError(f"explore_timeline needs a timeline, and was given a {kind}; give that of read_timeline()")
        super().__init__()
        self._timeline, self._record = timeline, record
        self.step = typical_step(timeline)
        self.children = (self._controls(), self._place)
        self.observe(self._refresh, ["step", "theme"])
        self._refresh()

    def __repr__(self) -> str:
        return f"{self._timeline.steps()['step'].nunique()} steps to explore: interactive in JupyterLab"

    def _controls(self) -> ipywidgets.HBox:
        known = self._timeline.steps()["step"]
        step = ipywidgets.IntSlider(min=known.min(), max=known.max(), continuous_update=False)
        return self._row({"step": step, "theme": THEMES})

    def _refresh(self, _change: Any = None) -> None:
        self._show(lambda: figures.plot_timeline(self._timeline, self.step, self._record))


def explore_timeline(timeline: Timeline, record: Record | None = None) -> TimelineExplorer:
    """
    Explore the steps of a timeline with controls.

    Parameters
    ----------
    timeline : Timeline
        As from `dcbench.timeline.read_timeline`.
    record : Record, optional
        The run, for the line that names the machine.

    Returns
    -------
    TimelineExplorer
        Shown by JupyterLab; ``.figure`` is the static figure.

    Raises
    ------
    SpecError
        If `timeline` is none, or does not say when ranks were ready.

    Examples
    --------
    >>> explore_timeline("timeline.json")
    Traceback (most recent call last):
    dcbench.errors.SpecError: explore_timeline needs a timeline, and was given a str; give that of read_timeline()
    """
    return TimelineExplorer(timeline, record)
