"""What a page must do for a view: leave its keys to its controls, and let its figures follow its width."""

from __future__ import annotations

from typing import Any

import anywidget
import ipywidgets
import traitlets

# JupyterLab takes keys in a list or on a button for its own commands, one of which deletes the cell; it leaves alone
# what carries this attribute. A responsive figure of Plotly measures itself again when the window says so, unless it
# has been given a width, as by the page's own first look at it.
_CODE = """
function render({ el }) {
  const tie = (tries) => {
    const output = el.closest(".jp-OutputArea-output");
    if (!output) return tries && requestAnimationFrame(() => tie(tries - 1));
    const keep = (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true");
    output.addEventListener("focusin", keep);
    let width = 0;
    const observer = new ResizeObserver(() => {
      if (!el.isConnected) return observer.disconnect();
      if (output.clientWidth === width) return;
      width = output.clientWidth;
      for (const figure of output.querySelectorAll(".js-plotly-plot")) if (figure.layout) delete figure.layout.width;
      window.dispatchEvent(new Event("resize"));
    });
    observer.observe(output);
  };
  tie(600);
}
export default { render };
"""


class Page(anywidget.AnyWidget):
    """An invisible part of a view that acts in the page."""

    _esm = _CODE


class View(ipywidgets.VBox):
    """Controls and figures of one view, one below the other; the last of its children is invisible."""

    def __init__(self, **fields: Any) -> None:
        self._page = Page(layout={"display": "none"})
        super().__init__(**fields)

    @traitlets.validate("children")
    def _with_page(self, proposal: Any) -> tuple[ipywidgets.Widget, ...]:
        return (*(child for child in proposal["value"] if child is not self._page), self._page)
