"""One page of JupyterLab that shows one notebook, and what a person does with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from browser.server import Server

START_MS = 60_000
MOST_HIGH_PX = 16_000
OUTPUT = ".jp-Notebook .jp-OutputArea-output"  # what cells have shown, and nothing of JupyterLab itself
# pandas leaves the corner of a table empty
_NOT_OURS = {"empty-table-header": {"enabled": False}}
# anywidget gives a figure two seconds to load; on a machine under load it is drawn later, but hears of no change then:
# tests that need changes wait for them in vain, all others may pass
_SLOW = "[anywidget] Failed to initialize model."

_IDLE = """(path) => {
    const panel = window.jupyterapp?.shell.currentWidget;
    return panel?.context?.path === path && panel.sessionContext?.session?.kernel?.status === 'idle';
}"""
_RUN_ALL = """async () => {
    await jupyterapp.commands.execute('notebook:run-all-cells');
    return jupyterapp.shell.currentWidget.content.model.sharedModel.cells.length;
}"""
_RUN = """async (source) => {
    const notebook = jupyterapp.shell.currentWidget.content;
    const place = notebook.model.sharedModel.cells.length;
    notebook.model.sharedModel.insertCell(place, {cell_type: 'code', source});
    notebook.activeCellIndex = place;
    await jupyterapp.commands.execute('notebook:run-cell');
    await notebook.scrollToItem(place);
    return place;
}"""
_FAILURES = """() => {
    const found = [];
    for (const cell of jupyterapp.shell.currentWidget.content.model.sharedModel.cells)
        for (const output of (cell.cell_type === 'code' ? cell.outputs : []))
            if (output.output_type === 'error') found.push(`${output.ename}: ${output.evalue}`);
    return found;
}"""


class Lab:
    """
    A notebook in JupyterLab, on a page of its own.

    Attributes
    ----------
    page : Page
    problems : list of str
        Errors that the page's scripts made or logged, and requests to anywhere but the server.
    """

    def __init__(self, page: Page, server: Server, pictures: Path) -> None:
        self.page, self.problems, self._server, self._pictures, self._path = page, [], server, pictures, ""
        page.on("console", self._logged)
        page.on("pageerror", self._failed)
        page.on("request", self._requested)

    def open(self, name: str, source: nbformat.NotebookNode | None = None) -> Lab:
        """Show a new notebook, empty unless made of `source`; its kernel is that of an earlier one of that name."""
        file = self._server.notebooks / f"{name}.ipynb"
        nbformat.write(source or nbformat.v4.new_notebook(metadata=_KERNEL), file)
        self._path = file.name
        self.page.goto(f"{self._server.url}lab/tree/{file.name}?token={self._server.token}&reset")
        self._wait_for_kernel()
        return self

    def reload(self) -> None:
        """Save the notebook and load the page anew."""
        self.save()
        self.page.reload()
        self._wait_for_kernel()

    def save(self) -> None:
        """Save the notebook."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")

    def run_all(self) -> int:
        """Run all cells to their end and return how many there are; fail where one failed."""
        cells = self.page.evaluate(_RUN_ALL)
        self._check()
        return cells

    def run(self, source: str) -> Locator:
        """Run a new cell at the notebook's end and return the place of its outputs; fail where it failed."""
        place = self.page.evaluate(_RUN, source)
        self._check()
        return self.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{place}'] .jp-Cell-outputArea")

    def clear(self) -> None:
        """Close all widgets of the kernel: each figure among them brings a new page five megabytes."""
        self.run("import ipywidgets; ipywidgets.Widget.close_all()")

    def kernel(self, action: str) -> None:
        """Have the kernel do ``restart`` or ``shutdown``."""
        self.page.evaluate(f"() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.{action}()")

    def picture(self, name: str, of: Locator | None = None) -> None:
        """Keep a picture of the page, or of a part of it, to be looked at."""
        (of or self.page).screenshot(path=self._pictures / f"{name}.png", animations="disabled")

    def picture_all(self, name: str) -> None:
        """Keep a picture of the whole notebook."""
        size = self.page.viewport_size
        panel = self.page.locator(".jp-WindowedPanel-outer").first
        height = panel.evaluate("e => { e.scrollTop = 0; return e.scrollHeight; }")
        self.page.set_viewport_size({"width": size["width"], "height": min(height + 150, MOST_HIGH_PX)})
        self.page.wait_for_timeout(1000)  # figures and cells come into view
        panel.evaluate("e => { e.scrollTop = 0; }")
        self.picture(name)
        self.page.set_viewport_size(size)

    def violations(self, where: str = OUTPUT) -> list[str]:
        """Return what axe finds against the rules of accessibility, one sentence a place."""
        from axe_playwright_python.sync_playwright import Axe

        options = {"resultTypes": ["violations"], "rules": _NOT_OURS}
        found = Axe().run(self.page, where, options).response["violations"]
        return [f"{v['id']}: {v['help']}: {node['html'][:200]}" for v in found for node in v["nodes"]]

    def _wait_for_kernel(self) -> None:
        self.page.wait_for_function(_IDLE, arg=self._path, timeout=START_MS)

    def _check(self) -> None:
        failed = self.page.evaluate(_FAILURES)
        assert not failed, failed

    def _logged(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _failed(self, error: Any) -> None:
        if error.message != _SLOW:
            self.problems.append(f"script error: {error}")

    def _requested(self, request: Any) -> None:
        if not re.match(r"data:|blob:", request.url) and not request.url.startswith(self._server.url):
            self.problems.append(f"request to {request.url}")


_KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
