"""Where an explorer shows its figure, light or dark, or a sentence instead; it knows neither choices nor runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
import traitlets
from plotly.io.base_renderers import PlotlyRenderer

from dcbench import figures
from dcbench.errors import DcbenchError
from dcbench.widgets._page import View

THEMES = ("light", "dark")
STYLE = {"description_width": "initial"}  # of a control: its label is never cut off
PICK = {"width": "max-content", "max_width": "26em"}  # layout of a list to pick from
WRAPPED = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "2px 16px"}  # layout of a row of controls


class Stage(View):
    """
    A place for one figure; controls go above it.

    Attributes
    ----------
    theme : {"light", "dark"}

    Notes
    -----
    The figure is an output of Plotly's MIME type: a notebook that keeps its widgets then keeps some ten kilobytes of
    it, where a `FigureWidget` would bring its own five megabytes of code.
    """

    theme = traitlets.Enum(THEMES, "light")

    def __init__(self) -> None:
        super().__init__()
        self._place, self._figure = ipywidgets.Output(), None

    @property
    def figure(self) -> figures.Figure | None:
        """The figure shown, as a value of its own for a report; None where a sentence is shown instead."""
        return None if self._figure is None else figures.Figure(self._figure)

    @property
    def sentence(self) -> str:
        """What is shown in the place of a figure; empty where there is one."""
        return "" if self._figure is not None else str(self._place.outputs[0]["data"]["text/plain"])

    def _row(self, controls: Mapping[str, ipywidgets.Widget | Sequence[Any]]) -> ipywidgets.HBox:
        """
        Return a row of controls.

        Parameters
        ----------
        controls : mapping of str to widget or sequence
            By the trait that each is named after and linked with; a sequence becomes a list to pick from.
        """
        made = []
        for name, given in controls.items():
            pick = None if isinstance(given, ipywidgets.Widget) else list(given)
            control = given if pick is None else ipywidgets.Dropdown(options=pick, layout=PICK)
            control.description, control.style = name.replace("_", " "), STYLE
            traitlets.link((self, name), (control, "value"))
            made.append(control)
        return ipywidgets.HBox(made, layout=WRAPPED)

    def _show(self, draw: Callable[[], figures.Figure]) -> None:
        """Show what `draw` returns in the present theme, or, as plain text, why it cannot."""
        try:
            made = draw()
            self._figure = made.dark() if self.theme == "dark" else made
            shown = PlotlyRenderer(figures.CONFIG).to_mimebundle(self._figure.to_dict())
        except DcbenchError as error:
            self._figure, shown = None, {"text/plain": str(error)}
        self._place.outputs = ({"output_type": "display_data", "data": shown, "metadata": {}},)
