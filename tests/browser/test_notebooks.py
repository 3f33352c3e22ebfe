"""Notebooks run as a whole in JupyterLab, and what they show can be used by all."""

import nbformat
import papermill
import pytest

from browser.server import PROJECT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
SMALL = {
    "00_start_here": {"repeats": 2, "steps": 20, "batch_per_device": 16},
    "05_scaling_study": {"source": "samples"},
}


@pytest.mark.parametrize("name", SMALL)
def test_all_cells_run_and_show_what_everybody_can_use(name, lab, tmp_path):
    copy = tmp_path / f"{name}.ipynb"
    source = PROJECT / "notebooks" / copy.name
    papermill.execute_notebook(source, copy, SMALL[name], prepare_only=True, progress_bar=False)
    lab.open(name, nbformat.read(copy, as_version=4))
    cells = lab.run_all()
    assert cells == len(nbformat.read(copy, as_version=4).cells)
    shown = lab.page.locator(".jp-Notebook")
    assert shown.locator(".js-plotly-plot .main-svg").count() > 3
    assert shown.locator(".jupyter-widgets select").count() > 1
    lab.picture_all(name)
    assert lab.violations() == []
    lab.kernel("shutdown")
