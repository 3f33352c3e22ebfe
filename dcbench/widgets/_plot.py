"""Plotly's widget, made to talk less: one message a change instead of four, and no answer to what a page reports."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import plotly.graph_objects as go
import traitlets
from plotly.serializers import custom_serializers

_UNECHOED = {"sync": True, "echo_update": False, **custom_serializers}


class Plot(go.FigureWidget):
    """
    A figure in a page.

    Notes
    -----
    After each change, a page reports the defaults that Plotly has filled in. Plotly's own widget stores them, and says
    so in two messages, several times a second; nothing here reads them.
    """

    _js2py_traceDeltas = traitlets.Dict(allow_none=True).tag(**_UNECHOED)  # noqa: N815 - Plotly's names
    _js2py_layoutDelta = traitlets.Dict(allow_none=True).tag(**_UNECHOED)  # noqa: N815

    def _handler_js2py_traceDeltas(self, change: Any) -> None:  # noqa: N802
        """Ignore it; it is no observer any more."""

    def _handler_js2py_layoutDelta(self, change: Any) -> None:  # noqa: N802
        """Ignore it; it is no observer any more."""

    def _send_update_msg(
        self, restyle_data: Any, relayout_data: Any, trace_indexes: Any = None, source_view_id: Any = None
    ) -> None:
        """Send changes of traces and layout; what Plotly's own numbers its messages for is left out."""
        self._py2js_update = {
            "style_data": restyle_data,
            "layout_data": relayout_data,
            "style_traces": self._normalize_trace_indexes(trace_indexes),
            "trace_edit_id": 0,
            "layout_edit_id": 0,
            "source_view_id": source_view_id,
        }

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> Any:
        """Return what a page is told; to one that is opened, what is shown now, where Plotly's own tells the first."""
        if key is None and "_widget_layout" in self._trait_values:  # not while it is being made
            self._trait_values["_widget_data"] = deepcopy(self._data)
            self._trait_values["_widget_layout"] = deepcopy(self._layout_obj._props)
        return super().get_state(key, drop_defaults)
