"""What explorers share: controls, a line about the runs chosen, and a figure or a sentence below.

It does not know what is drawn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import ipywidgets
import pandas as pd
import traitlets

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.record import Record
from dcbench.store import Runs
from dcbench.widgets._choices import Choices, read
from dcbench.widgets._picks import Picks
from dcbench.widgets._stage import WRAPPED, Stage

TARGET = "time to target"


class Explorer(Stage):
    """
    Controls over one figure; each trait is a control, and can be set from code.

    In JupyterLab the Tab key goes from control to control; Space opens a list or ticks a box.

    Attributes
    ----------
    machine, sweep, model, dataset : str or None
        None is all of them, where that is offered. Machines and sweeps are offered where there are several.
    backends : tuple of str
        Those shown; the one that others are compared with always is.
    view : str
        Which figure is shown; one of ``views``.
    log_axes : bool
        Whether amounts have logarithmic axes.
    theme : {"light", "dark"}
    """

    machine = traitlets.Unicode(None, allow_none=True)
    sweep = traitlets.Unicode(None, allow_none=True)
    model = traitlets.Unicode(None, allow_none=True)
    dataset = traitlets.Unicode(None, allow_none=True)
    backends = traitlets.Tuple()
    view = traitlets.Unicode()
    log_axes = traitlets.Bool(False)

    views: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # name: how titles of axes begin that may be logarithmic
    offers_all = False

    def __init__(self, runs: Runs, columns: Mapping[str, str], compared_with: str, asked: str) -> None:
        super().__init__()
        self._table, self._records = read(runs, asked)
        several = {n: n for n in ("machine", "sweep") if self._table[n].nunique(dropna=False) > 1}
        columns = {**several, **columns}
        self._choices = Choices(self._table, {**columns, "backend": "backend"})
        self._names, self._compared_with = tuple(columns), compared_with
        self._syncing = False
        for name, value in {**self._choices.first(self._names), "view": next(iter(self.views))}.items():
            self.set_trait(name, value)
        self.backends = tuple(self._choices.values("backend"))
        self._make_controls(columns)
        self.observe(self._refresh, [*self._names, "backends", "view", "log_axes", "theme"])
        self._refresh()

    def __repr__(self) -> str:
        return f"{len(self._table)} runs to explore: interactive in JupyterLab"

    def _chosen(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def _rows(self) -> pd.DataFrame:
        """Return the chosen runs; failed runs and canaries are among them, which the figures know how to take."""
        rows = self._table.loc[self._choices.matching(self._chosen())]
        rows = rows[rows["backend"].isin(self.backends)]
        to_target = rows["target_accuracy"].notna()  # such runs differ in length
        if self.view == TARGET:
            return rows[to_target]
        return rows if to_target.all() else rows[~to_target]

    def _shown(self) -> pd.DataFrame:
        rows = self._rows()
        return rows[~rows["canary"].isin([True])]

    def _records_of(self, rows: pd.DataFrame) -> list[Record]:
        return [self._records[i] for i in rows.index] if self._records is not None else []

    def _draw(self, rows: pd.DataFrame) -> figures.Figure:
        """Return the figure of some runs in the present view."""
        raise NotImplementedError

    def _lacking(self, name: str, value: Any) -> str:
        """Return why a value of a choice would show nothing, in two words; empty where it shows something."""
        if name not in self._names or value is None:
            return ""
        return "" if len(self._choices.matching({**self._chosen(), name: value})) else "no runs"

    @traitlets.validate("backends")
    def _in_order(self, proposal: Any) -> tuple[str, ...]:
        known = self._choices.values("backend")
        wanted = {*proposal["value"], self._compared_with}
        return tuple(b for b in known if b in wanted) + tuple(b for b in proposal["value"] if b not in known)

    def _make_controls(self, columns: Mapping[str, str]) -> None:
        names = {**columns, "view": "view", "theme": "theme"}
        self._picks = Picks(self, names, self._offered, self._worded)
        self._ticks = {b: self._tick(b) for b in self._choices.values("backend")}
        logarithmic = ipywidgets.Checkbox(description="log axes", indent=False, layout={"width": "auto"})
        traitlets.link((self, "log_axes"), (logarithmic, "value"))
        self._logarithmic, self._note = logarithmic, ipywidgets.Label()
        backends = ipywidgets.HBox([ipywidgets.Label("backends"), *self._ticks.values()], layout=WRAPPED)
        lists = self._picks.lists
        chosen = ipywidgets.HBox([lists[n] for n in columns], layout=WRAPPED)
        look = ipywidgets.HBox([lists["view"], lists["theme"], logarithmic], layout=WRAPPED)
        self.children = (chosen, backends, look, self._note, self._place)

    def _offered(self, name: str) -> list[Any]:
        if name in ("view", "theme"):
            return list(self.views) if name == "view" else ["light", "dark"]
        values = self._choices.values(name)
        return [*values, None] if self.offers_all and len(values) > 1 else values

    def _tick(self, backend: str) -> ipywidgets.Checkbox:
        made = ipywidgets.Checkbox(description=backend, indent=False, layout={"width": "auto"})

        def take(change: Any) -> None:
            if not self._syncing:
                others = tuple(b for b in self.backends if b != backend)
                self.backends = (*others, backend) if change["new"] else others

        made.observe(take, "value")
        return made

    def _refresh(self, _change: Any = None) -> None:
        with self._quiet():
            self._show_choices()
        self._note.value = _counted(self._shown())
        self._show(self._drawn)

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        self._syncing = True
        try:
            yield
        finally:
            self._syncing = False

    def _show_choices(self) -> None:
        self._picks.show()
        present = set(self._table.loc[self._choices.matching(self._chosen()), "backend"])
        for backend, tick in self._ticks.items():
            tick.value = backend in self.backends
            tick.disabled = backend not in present or backend == self._compared_with
        self._logarithmic.disabled = not self.views.get(self.view)

    def _worded(self, name: str, value: Any) -> str:
        lacking = self._lacking(name, value)
        return ("all" if value is None else str(value)) + (f" ({lacking})" if lacking else "")

    def _drawn(self) -> figures.Figure:
        self._check(self._shown())
        made = self._draw(self._rows())
        if self.log_axes:
            for each in (made.for_each_xaxis, made.for_each_yaxis):
                each(_make_logarithmic, lambda axis: str(axis.title.text).startswith(self.views[self.view]))
        return made

    def _check(self, rows: pd.DataFrame) -> None:
        """Refuse a choice without a completed run, in a sentence that names it."""
        asked = ", ".join(f"{n}={v!r}" for n, v in {**self._chosen(), "backends": self.backends}.items())
        if self.view not in self.views:
            raise SpecError(f"there is no view {self.view!r}; choose one of {', '.join(self.views)}")
        if self.view == TARGET and rows.empty:
            raise SpecError("none of these runs sought an accuracy; make runs with a target_accuracy")
        if rows.empty:
            raise SpecError(f"no run has {asked}; choose values that are not marked 'no runs'")
        if not (rows["status"] == "ok").any():
            why = "; ".join(sorted({f"{s}: {r}" for s, r in zip(rows["status"], rows["reason"], strict=True)}))
            raise SpecError(f"none of the {len(rows)} runs with {asked} was completed ({why:.300}); make them again")


def _make_logarithmic(axis: Any) -> None:
    axis.update(type="log", range=None, autorange=True, nticks=5)  # numbers crowd at the upper end


def _counted(rows: pd.DataFrame) -> str:
    failed = int((rows["status"] != "ok").sum())
    configurations = len(rows.drop_duplicates(["backend", "devices", "batch_per_device", "model", "dataset"]))
    return f"{len(rows)} runs of {configurations} configurations" + (f", {failed} not completed" if failed else "")
