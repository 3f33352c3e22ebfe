"""Explore how training scales: speed-up, throughput, step times and memory over the choices among runs."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import traitlets

from dcbench import figures, stats
from dcbench.errors import SpecError
from dcbench.store import Runs
from dcbench.widgets._explorer import TARGET, Explorer

SPEEDUP, THROUGHPUT, STEPS, MEMORY = "speed-up and efficiency", "throughput", "step times", "memory"


class ScalingExplorer(Explorer):
    """
    Controls over `figures.plot_scaling` and the figures beside it.

    Attributes
    ----------
    batch : int or None
        Examples per device (weak scaling) or per optimizer step (strong); None is all.
    """

    batch = traitlets.Int(None, allow_none=True)

    views: ClassVar = {
        SPEEDUP: ("Devices", "Speed-up"),
        THROUGHPUT: ("Throughput",),
        STEPS: ("Step time",),
        MEMORY: (),
        TARGET: ("Training time",),
    }
    offers_all = True

    def __init__(self, runs: Runs, mode: str = "weak", base: str = "single", ceiling: str = "independent") -> None:
        self._mode, self._ceiling = mode, ceiling
        columns = {"model": "model", "dataset": "dataset", "batch": stats.batch_field(mode)}
        super().__init__(runs, columns, base, "explore_scaling")

    @property
    def selected(self) -> pd.DataFrame:
        """The runs that the figure is made of, one a row; failed runs are among them."""
        return self._shown().copy()

    def _draw(self, rows: pd.DataFrame) -> figures.Figure:
        if self.view == SPEEDUP:
            if not (rows["backend"] != self._compared_with)[rows["status"] == "ok"].any():
                raise SpecError(f"only runs of {self._compared_with} are left, the base itself; choose another backend")
            return figures.plot_scaling(rows, self._compared_with, self._ceiling, self._mode)
        if self.view == THROUGHPUT:
            return figures.plot_throughput(rows)
        if self.view == MEMORY:
            return figures.plot_memory(rows)
        if self.view == TARGET:
            return figures.plot_time_to_target(rows)
        if self._records is None:
            raise SpecError("step times need records, and a table has none; give those of dcbench.store.load_sweep()")
        return figures.plot_step_times(self._records_of(rows))

    def _lacking(self, name: str, value: Any) -> str:
        if (name, value) == ("view", STEPS) and self._records is None:
            return "needs records"
        return super()._lacking(name, value)


def explore_scaling(
    runs: Runs, mode: str = "weak", base: str = "single", ceiling: str = "independent"
) -> ScalingExplorer:
    """
    Explore the runs of a scaling study with controls.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `dcbench.load_records` or a sweep; step times need records.
    mode : {"weak", "strong"}
        Whether the batch per device or the global batch is held.
    base, ceiling : str
        As for `stats.scaling`.

    Returns
    -------
    ScalingExplorer
        Shown by JupyterLab; ``.figure`` is the static figure, ``.selected`` the runs behind it.

    Raises
    ------
    SpecError
        If there are no runs at all. A choice that shows nothing is explained in the figure's place.

    Examples
    --------
    >>> explore_scaling([])
    Traceback (most recent call last):
    dcbench.errors.SpecError: explore_scaling needs runs, and there are none; give ...
    """
    return ScalingExplorer(runs, mode, base, ceiling)
