"""A figure that changes while it is looked at, or is clicked: one Plotly widget, and only what changed is sent to it.

Everything else is shown by `dcbench.widgets._stage`, which leaves less behind in a notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
import numpy as np
from plotly.basedatatypes import Undefined

from dcbench import figures
from dcbench.widgets._plot import Plot

Clicked = Callable[[int, int, Any], None]


class Canvas(ipywidgets.VBox):
    """
    A place for a figure that is drawn again and again.

    Parameters
    ----------
    figure : Figure
        The first to be shown.
    """

    def __init__(self, figure: figures.Figure) -> None:
        super().__init__()
        self._callbacks: list[Clicked] = []
        self._place(figure)

    @property
    def figure(self) -> figures.Figure:
        """What is shown, as a value of its own."""
        return figures.Figure(self._widget)

    def draw(self, figure: figures.Figure) -> None:
        """
        Show another figure: in one message of what changed where the traces are of the same kinds.

        Other traces take the place of those shown; the widget stays, as a new one takes a page five megabytes.
        """
        then, self._drawn = self._drawn or figures.Figure(self._widget), figure
        alike = [_form(t) for t in figure.data] == [_form(t) for t in then.data]
        if not alike:
            self._widget.data = ()
            self._widget.add_traces(figure.data)
            self._listen()
        with self._widget.batch_update():
            for trace, new, old in zip(self._widget.data, figure.data, then.data, strict=True) if alike else ():
                trace.update(_changed(_set(new), _set(old)), overwrite=True)
            self._widget.layout.update(_changed(_set(figure.layout), _set(then.layout)), overwrite=True)

    def change(self, traces: Mapping[int, Mapping[str, Any]], layout: Mapping[str, Any] | None = None) -> None:
        """
        Change some properties of traces, by their number, and of the layout, in one message; far cheaper than `draw`.

        Properties are paths of Plotly, ``{"y": …}`` or ``{"annotations[0].text": …}``. Values are not checked, which
        would take most of the time: series are arrays of NumPy, which are sent as they are in memory.
        """
        names = dict.fromkeys(name for values in traces.values() for name in values)
        styles = {name: [_sendable(values.get(name, Undefined)) for values in traces.values()] for name in names}
        self._widget.plotly_update(styles, dict(layout or {}), list(traces))
        self._drawn = None

    def on_click(self, callback: Clicked) -> None:
        """Call `callback` with the numbers of the trace and the point and the point's custom data, at each click."""
        self._callbacks.append(callback)

    def _place(self, figure: figures.Figure) -> None:
        self._drawn: figures.Figure | None = figure  # None where the widget has been changed since
        self._widget = Plot(figure)
        self._widget._config = {**figures.CONFIG, "responsive": True}
        self._listen()
        self._widget._view_count = 0  # counts the views of it from now on
        self._widget.observe(self._seen, "_view_count")
        self.children = (self._widget,)

    def _seen(self, change: Any) -> None:
        """Let a new view take the width of the page and place its title: it was drawn before it had a size."""
        if (change["new"] or 0) > (change["old"] or 0):
            self._widget._send_relayout_msg({"autosize": True})

    def _listen(self) -> None:
        for number, trace in enumerate(self._widget.data):
            trace.on_click(lambda trace, points, _state, n=number: self._clicked(n, trace, points))

    def _clicked(self, number: int, trace: Any, points: Any) -> None:
        for point in points.point_inds:
            about = None if trace.customdata is None else trace.customdata[point]
            for callback in self._callbacks:
                callback(number, point, about)


def _sendable(value: Any) -> Any:
    return np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value


def _form(trace: Any) -> tuple[Any, ...]:
    return tuple(trace[name] for name in ("type", "mode", "xaxis", "yaxis") if name in trace)


def _set(part: Any) -> dict[str, Any]:
    """Return the properties of a trace or a layout that are set, arrays as they are."""
    values = {name: part[name] for name in part if name != "uid"}
    plain = {n: v.to_plotly_json() if hasattr(v, "to_plotly_json") else v for n, v in values.items()}
    return {n: v for n, v in plain.items() if v is not None and not (isinstance(v, dict) and not v)}


def _changed(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Return what differs; what is gone is None."""
    names = (*new, *(n for n in old if n not in new))
    return {n: new.get(n) for n in names if not _same(new.get(n), old.get(n))}


def _same(one: Any, other: Any) -> bool:
    """Whether two descriptions are equal; arrays are compared by value."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    try:
        return bool(one == other)
    except ValueError:  # arrays
        return len(one) == len(other) and bool((one == other).all())
