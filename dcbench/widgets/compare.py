"""Compare two configurations: pick both sides from lists, and read the verdict first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
import traitlets

from dcbench import comparison, figures, store
from dcbench.comparison import Comparison
from dcbench.errors import SpecError
from dcbench.metrics import METRICS
from dcbench.store import Runs
from dcbench.widgets._choices import read
from dcbench.widgets._picks import Picks
from dcbench.widgets._sides import Sides, counted
from dcbench.widgets._stage import THEMES, WRAPPED, Stage
from dcbench.widgets._tables import sentence, sentence_text, table_text, unread

_WIDE = {"width": "max-content", "max_width": "100%"}  # layout of a list of long names


class RunComparer(Stage):
    """
    Two lists of configurations, one metric, and `figures.plot_comparison` below the verdict; each trait is a control.

    Attributes
    ----------
    a_sweep, b_sweep : str
        Where each side is looked for; offered where there are several sweeps.
    a, b : str
        Names of configurations in their sweeps, as the lists show them.
    metric : str
        Name in ``METRICS``.
    allow_unlike : bool
        Whether runs of unlike machines are compared; the title then says so.
    theme : {"light", "dark"}
    """

    a_sweep = traitlets.Unicode()
    b_sweep = traitlets.Unicode()
    a = traitlets.Unicode()
    b = traitlets.Unicode()
    metric = traitlets.Unicode("throughput")
    allow_unlike = traitlets.Bool(False)

    def __init__(self, runs: Runs) -> None:
        super().__init__()
        self._table, self._records = read(runs, "compare_runs")
        self._sides = Sides(self._table)
        self._comparison: Comparison | None = None
        self._metrics = [m for m in METRICS if m in self._table and self._table[m].notna().any()]
        self.a_sweep, self.a, self.b = self._sides.first()
        self.b_sweep = self.a_sweep
        self._make_controls()
        self.observe(self._refresh, ["a_sweep", "b_sweep", "a", "b", "metric", "allow_unlike", "theme"])
        self._refresh()

    def __repr__(self) -> str:
        return f"{len(self._table)} runs to compare: interactive in JupyterLab"

    @property
    def comparison(self) -> Comparison | None:
        """What is shown; None where the two sides cannot be compared, which `sentence` explains."""
        return self._comparison

    def _make_controls(self) -> None:
        several = len(self._sides.sweeps) > 1
        labels = {"a_sweep": "sweep of a", "b_sweep": "sweep of b", "a": "a", "b": "b", "metric": "metric"}
        self._picks = Picks(self, labels, self._offered, self._worded)
        lists = self._picks.lists
        sides = []
        for side in ("a", "b"):
            lists[side].layout = _WIDE
            sides.append(ipywidgets.HBox([lists[f"{side}_sweep"]] * several + [lists[side]], layout=WRAPPED))
        tick = ipywidgets.Checkbox(indent=False, layout={"width": "auto"})
        more = self._row({"allow_unlike": tick, "theme": THEMES})
        tick.description = "allow unlike machines"
        self._verdict, self._differs = ipywidgets.HTML(), ipywidgets.HTML()
        skipped = unread(self._table.attrs.get("skipped", {}))
        self.children = (
            *sides,
            ipywidgets.HBox([lists["metric"], *more.children], layout=WRAPPED),
            self._verdict,
            self._place,
            self._differs,
            *[sentence(skipped)] * bool(skipped),
        )

    def _offered(self, name: str) -> list[Any]:
        if name == "metric":
            return self._metrics
        return self._sides.sweeps if name.endswith("_sweep") else list(self._of(name))

    def _worded(self, name: str, value: Any) -> str:
        if name == "metric":
            return f"{METRICS[value].label} ({METRICS[value].unit})".removesuffix(" (1)")
        return value if name.endswith("_sweep") else f"{value} ({counted(self._of(name)[value])})"

    def _of(self, side: str) -> dict[str, pd.DataFrame]:
        """Return the configurations that a side is picked from."""
        return self._sides.of(getattr(self, f"{side}_sweep"))

    def _refresh(self, _change: Any = None) -> None:
        self._picks.show()
        self._comparison = None
        self._show(self._draw)
        found = self._comparison
        self._verdict.value = "" if found is None else sentence_text(found.sentence, large=True)
        self._differs.value = "" if found is None else _differences(found)

    def _draw(self) -> figures.Figure:
        if (self.a_sweep, self.a) == (self.b_sweep, self.b):
            raise SpecError("a and b are the same configuration; choose another for one of them")
        sides = [self._runs(side) for side in ("a", "b")]
        self._comparison = comparison.compare(*sides, self.metric, self.allow_unlike)
        return figures.plot_comparison(self._comparison)

    def _runs(self, side: str) -> Any:
        known, name = self._of(side), getattr(self, side)
        if name not in known:
            raise SpecError(f"{side}={name!r} is not a configuration here; choose one of the list")
        rows = known[name]
        return rows if self._records is None else [self._records[i] for i in rows.index]


def _differences(found: Comparison) -> str:
    if found.differs.empty:
        return sentence_text("Nothing else that is known of them differs.")
    return table_text("What differs", found.differs.to_numpy().tolist(), ("what", found.label_a, found.label_b))


def compare_runs(runs: Runs | None = None, root: Path | None = None) -> RunComparer:
    """
    Compare two configurations with controls: the verdict first, then the figure, then what else differs.

    Parameters
    ----------
    runs : DataFrame or sequence of Record, optional
        As from `dcbench.load_records`, which is taken unless given. Records know more of what differs than their table.
    root : Path, optional
        The folder that is read where no `runs` are given; `store.root` unless given.

    Returns
    -------
    RunComparer
        Shown by JupyterLab; ``.comparison`` is what `dcbench.compare` found, ``.figure`` the static figure. It begins
        with two backends on the most devices of the newest sweep that has them.

    Raises
    ------
    SpecError
        If there are no runs at all. Sides that do not compare are explained in the figure's place.

    Examples
    --------
    >>> compare_runs([])
    Traceback (most recent call last):
    dcbench.errors.SpecError: compare_runs needs runs, and there are none; give ...
    """
    return RunComparer(store.load_records(root) if runs is None else runs)
