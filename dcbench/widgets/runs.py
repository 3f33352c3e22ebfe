"""Explore all runs: choose some, draw any number of theirs against any other, and look at the run behind a mark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
import traitlets

from dcbench import figures, store
from dcbench.errors import DcbenchError, SpecError
from dcbench.figures.runs import axes
from dcbench.record import Record
from dcbench.registry import nearest
from dcbench.store import Runs
from dcbench.widgets._canvas import Canvas
from dcbench.widgets._choices import Choices, read
from dcbench.widgets._picks import Picks
from dcbench.widgets._run import RunFacts
from dcbench.widgets._stage import STYLE, THEMES, WRAPPED, Stage
from dcbench.widgets._tables import sentence, unread

FILTERS = ("model", "dataset", "backend", "devices", "status", "machine", "sweep")
_WHERE_SEVERAL = ("machine", "sweep")


class RunExplorer(Stage):
    """
    Controls over `figures.plot_runs`, and the run behind a mark below; each trait is a control, and can be set in code.

    Attributes
    ----------
    model, dataset, backend, status, machine, sweep : str or None
    devices : int or None
        None is all.
    x, y : str
        Names in `figures.runs.axes`.
    log_x, log_y : bool
    run : str
        Id of the run that is looked at: clicked, typed, or reached with the buttons; empty for none.
    theme : {"light", "dark"}
    """

    model = traitlets.Unicode(None, allow_none=True)
    dataset = traitlets.Unicode(None, allow_none=True)
    backend = traitlets.Unicode(None, allow_none=True)
    devices = traitlets.Int(None, allow_none=True)
    status = traitlets.Unicode(None, allow_none=True)
    machine = traitlets.Unicode(None, allow_none=True)
    sweep = traitlets.Unicode(None, allow_none=True)
    x = traitlets.Unicode("global_batch")
    y = traitlets.Unicode("throughput")
    log_x = traitlets.Bool(False)
    log_y = traitlets.Bool(False)
    run = traitlets.Unicode("")

    def __init__(self, runs: Runs, root: Path | None = None) -> None:
        super().__init__()
        table, records = read(runs, "explore_runs")
        self._table, self._root = store.by_time(table), root
        self._records = {record.run_id: record for record in records or ()}
        self._choices = Choices(self._table, {name: name for name in FILTERS})
        self._axes = {n: a for n, a in axes().items() if a.values(self._table).notna().any()}
        self._canvas: Canvas | None = None
        self._facts = RunFacts()
        self._make_controls()
        self.observe(self._refresh, [*FILTERS, "x", "y", "log_x", "log_y"])
        self.observe(self._look, ["run", "theme"])
        self._refresh()
        self._look()

    def __repr__(self) -> str:
        return f"{len(self._table)} runs to explore: interactive in JupyterLab"

    @property
    def selected(self) -> pd.DataFrame:
        """The chosen runs, one a row, oldest first; failed runs are among them."""
        return self._rows().copy()

    @property
    def record(self) -> Record | None:
        """The record of the run that is looked at, None where there is none."""
        return self._facts.record

    def _chosen(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in FILTERS}

    def _rows(self) -> pd.DataFrame:
        return self._table.loc[self._choices.matching(self._chosen())]

    def _make_controls(self) -> None:
        labels = {n: n for n in FILTERS if n not in _WHERE_SEVERAL or len(self._choices.values(n)) > 1}
        self._picks = Picks(self, labels | {"x": "x axis", "y": "y axis"}, self._offered, self._worded)
        lists = self._picks.lists
        ticks = self._row({n: ipywidgets.Checkbox(indent=False, layout={"width": "auto"}) for n in ("log_x", "log_y")})
        look = [lists["x"], lists["y"], *ticks.children, *self._row({"theme": THEMES}).children]
        self._note, self._position = ipywidgets.Label(), ipywidgets.Label()
        self._typed = ipywidgets.Text(
            description="run", placeholder="id of a run", continuous_update=False, style=STYLE, layout={"width": "19em"}
        )
        traitlets.link((self, "run"), (self._typed, "value"))
        self._buttons = {step: self._button(step, word) for step, word in ((-1, "previous run"), (1, "next run"))}
        walk = (self._buttons[-1], self._typed, self._buttons[1], self._position)
        self._drawn = ipywidgets.VBox()
        skipped = unread(self._table.attrs.get("skipped", {}))
        self.children = (
            ipywidgets.HBox([lists[n] for n in labels], layout=WRAPPED),
            ipywidgets.HBox(look, layout=WRAPPED),
            self._note,
            *[sentence(skipped)] * bool(skipped),
            self._drawn,
            ipywidgets.HBox(walk, layout=WRAPPED),
            self._facts,
        )

    def _button(self, step: int, word: str) -> ipywidgets.Button:
        made = ipywidgets.Button(description=word, icon="arrow-left" if step < 0 else "arrow-right")
        made.on_click(lambda _: self._walk(step))
        return made

    def _offered(self, name: str) -> list[Any]:
        if name in ("x", "y"):
            return list(self._axes)
        return [None, *self._choices.values(name)]

    def _worded(self, name: str, value: Any) -> str:
        if name in ("x", "y"):
            return self._axes[value].title
        return f"{'all' if value is None else value} ({self._counts[name][value]:,})"

    def _refresh(self, _change: Any = None) -> None:
        self._counts = {n: self._choices.counts(n, self._chosen()) for n in FILTERS}
        self._picks.show()
        rows = self._rows()
        failed = int((rows["status"] != "ok").sum())
        self._note.value = f"{len(rows):,} of {len(self._table):,} runs" + f", {failed:,} not completed" * bool(failed)
        self._repaint()
        self._say_position()

    def _repaint(self) -> None:
        """Show the points anew, or, as plain text, why there are none."""
        try:
            made = figures.plot_runs(self._rows(), self.x, self.y, self.log_x, self.log_y, self.run)
        except DcbenchError as error:
            self._figure = None
            self._place.outputs = ({"output_type": "display_data", "data": {"text/plain": str(error)}, "metadata": {}},)
            self._drawn.children = (self._place,)
            return
        self._figure = made.dark() if self.theme == "dark" else made
        if self._canvas is None:
            self._canvas = Canvas(self._figure)
            self._canvas.on_click(self._clicked)
        else:
            self._canvas.draw(self._figure)
        self._drawn.children = (self._canvas,)

    def _clicked(self, _trace: int, _point: int, run: Any) -> None:
        self.run = str(run)

    def _walk(self, step: int) -> None:
        """Go to the run before or after, from no run to the newest or the oldest."""
        chosen = list(self._rows()["run_id"])
        first = len(chosen) if step < 0 else -1
        place = (chosen.index(self.run) if self.run in chosen else first) + step
        if 0 <= place < len(chosen):
            self.run = chosen[place]

    def _look(self, _change: Any = None) -> None:
        self._facts.show(self._load if self.run else None, self.theme)
        self._repaint()
        self._say_position()

    def _load(self) -> Record:
        known = self._table["run_id"]
        if not known.eq(self.run).any():
            raise SpecError(f"run {self.run!r} is not among these{nearest(self.run, list(known))}")
        return self._records.get(self.run) or store.load_record(self.run, self._root)

    def _say_position(self) -> None:
        chosen = list(self._rows()["run_id"])
        place = chosen.index(self.run) if self.run in chosen else None
        self._position.value = f"of {len(chosen):,}" if place is None else f"{place + 1:,} of {len(chosen):,}"
        self._buttons[-1].disabled = not chosen or place == 0
        self._buttons[1].disabled = not chosen or place == len(chosen) - 1


def explore_runs(runs: Runs | None = None, root: Path | None = None) -> RunExplorer:
    """
    Explore runs with controls: choose some, draw any of their numbers against any other, look at single ones.

    Parameters
    ----------
    runs : DataFrame or sequence of Record, optional
        As from `dcbench.load_records`, which is taken unless given. Of a table, the record of a run is read when the
        run is looked at.
    root : Path, optional
        The folder of the runs of a table; `store.root` unless given.

    Returns
    -------
    RunExplorer
        Shown by JupyterLab; ``.figure`` is the static figure, ``.selected`` the chosen runs, ``.record`` that of the
        run that is looked at.

    Raises
    ------
    SpecError
        If there are no runs at all. A choice that shows nothing is explained in the figure's place.

    Examples
    --------
    >>> explore_runs([])
    Traceback (most recent call last):
    dcbench.errors.SpecError: explore_runs needs runs, and there are none; give ...
    """
    return RunExplorer(store.load_records(root) if runs is None else runs, root)
