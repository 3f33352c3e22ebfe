"""One run in full: what was asked, what came out, where it ran, and its steps as they were measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from dcbench import figures, store
from dcbench.comparison.conditions import conditions
from dcbench.errors import DcbenchError
from dcbench.metrics import METRICS
from dcbench.options import default
from dcbench.record import Record
from dcbench.spec import fields
from dcbench.terminal import quantity
from dcbench.widgets._stage import Stage
from dcbench.widgets._tables import sentence_text, table_text

NONE_YET = "Click a mark, type the id of a run, or use the buttons: the run behind it is shown here."
TABLES = ("Asked for, not the default", "Measured", "Machine", "Versions", "When")
_ALWAYS = ("model", "dataset", "backend", "devices", "batch_per_device", "steps")
_SIDE_BY_SIDE = {"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "4px 40px"}


class RunFacts(Stage):
    """The facts of one run in tables, above the figure of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.record: Record | None = None
        self._said = ipywidgets.HTML()
        self._tables = {title: ipywidgets.HTML() for title in TABLES}  # kept, as each new widget stays in the page
        self._parts = ipywidgets.HBox(list(self._tables.values()), layout=_SIDE_BY_SIDE)

    def show(self, load: Callable[[], Record] | None, theme: str = "light") -> None:
        """Show the run that `load` reads, or why it cannot; None for no run."""
        self.record, self.theme = None, theme
        if load is None:
            self._say(NONE_YET)
            return
        try:
            record = self.record = load()
        except DcbenchError as error:
            self._say(str(error))
            return
        self._show(lambda: figures.plot_run(record))
        for title, rows in _parts(record).items():
            self._tables[title].value = table_text(title, rows)
        self._say(_outcome(record), self._parts, self._place)

    def _say(self, text: str, *below: ipywidgets.Widget) -> None:
        self._said.value = sentence_text(text)
        self.children = (self._said, *below)


def _outcome(record: Record) -> str:
    why = f": {record.reason}" if record.reason else ""
    flags = f". Flags: {'; '.join(map(str, record.flags))}" if record.flags else ""
    return f"{record.run_id}, {record.status}{why}{flags}"


def _parts(record: Record) -> dict[str, list[tuple[str, Any]]]:
    """Return the rows of each table, by its title."""
    found = conditions(store.tidy([record]), [record])
    usual = {f.name: default(f) for f in fields()}
    other = {n for n, value in usual.items() if record.spec.get(n, value) != value}
    asked = [(n, said) for n, said in found["spec"].items() if n in _ALWAYS or n in other]
    came = [(METRICS[n].label, quantity(value, METRICS[n].unit)) for n, value in record.metrics.items()]
    swept = [(n, record.sweep[n]) for n in ("id", "round", "canary") if n in record.sweep]
    when = [("started (UTC)", record.started_utc), ("took", quantity(record.duration_s, "s"))]
    machine = [(n, said) for n, said in found["machine"].items() if said != "-"]
    when += [(f"sweep {n}" if n != "id" else "sweep", v) for n, v in swept]
    rows = (asked, came or [("nothing", "")], machine, list(found["versions"].items()), when)
    return dict(zip(TABLES, rows, strict=True))
