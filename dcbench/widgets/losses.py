"""Explore loss curves: which backends train the same model as one device, and how far the others are from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pandas as pd
import traitlets

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.record import Record
from dcbench.widgets._explorer import Explorer

BOTH, LOSS, DIFFERENCE = "loss and difference", "loss", "difference from one device"


class LossExplorer(Explorer):
    """
    Controls over `figures.plot_loss`; values are drawn as measured, without smoothing.

    Attributes
    ----------
    global_batch : int
        Examples per optimizer step.
    """

    global_batch = traitlets.Int(None, allow_none=True)

    views: ClassVar = {BOTH: ("Training loss",), LOSS: ("Training loss",), DIFFERENCE: ()}

    def __init__(self, records: Sequence[Record], reference: str = "single") -> None:
        if isinstance(records, pd.DataFrame):
            raise SpecError(
                "explore_losses needs records, and a table has no losses; give those of dcbench.store.load_sweep()"
            )
        columns = {n: n for n in ("model", "dataset", "global_batch")}
        super().__init__(records, columns, reference, "explore_losses")

    @property
    def selected(self) -> list[Record]:
        """The records that the figure is made of; failed runs are among them."""
        return self._records_of(self._shown())

    def _draw(self, rows: pd.DataFrame) -> figures.Figure:
        drawn = figures.plot_loss(self._records_of(rows), self.global_batch, self._compared_with)
        apart = any(t.yaxis == "y2" for t in drawn.data)
        if self.view == BOTH or (self.view == LOSS and not apart):  # the losses are alone already
            return drawn
        if self.view == DIFFERENCE and not apart:
            left = f"only {self._compared_with} is left at {self.global_batch} examples a step"
            raise SpecError(f"{left}; choose another backend too")
        return _alone(drawn, "" if self.view == LOSS else "2")


def _alone(drawn: figures.Figure, kept: str) -> figures.Figure:
    """Give the whole height to one of the two panels: that of the axes with the ending `kept`."""
    drawn.data = [t.update(showlegend=True) for t in drawn.data if t.yaxis == f"y{kept}"]
    title = drawn.layout.xaxis2.title.text
    for other in {"", "2"} - {kept}:
        drawn.layout[f"xaxis{other}"], drawn.layout[f"yaxis{other}"] = None, None
    drawn.layout[f"xaxis{kept}"].update(matches=None, showticklabels=True, title={"text": title})
    drawn.layout[f"yaxis{kept}"].domain = (0, 1)
    return drawn


def explore_losses(records: Sequence[Record], reference: str = "single") -> LossExplorer:
    """
    Explore loss curves with controls.

    Parameters
    ----------
    records : sequence of Record
        As from a sweep.
    reference : str
        The backend to compare with.

    Returns
    -------
    LossExplorer
        Shown by JupyterLab; ``.figure`` is the static figure, ``.selected`` the records behind it.

    Raises
    ------
    SpecError
        If there are no records. A choice that shows nothing is explained in the figure's place.
    """
    return LossExplorer(records, reference)
