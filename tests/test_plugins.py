"""A model, a dataset, a backend and a notebook of one's own, each one file in a folder that is not the package."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import dcbench
from dcbench import batch, catalogue, registry

ROOT = Path(__file__).parents[1]
CODE = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
MODEL, DATASET, BACKEND, RANKS = (
    next(c for c in CODE if sign in c) for sign in ("def build(", "def load(", "Backend(_base.", "Backend(horovod.")
)
ALONE = """
from dcbench.backends import _base

ONE_PROCESS_A_DEVICE = True

class Backend(_base.Backend):
    pass
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Write the examples of CONTRIBUTING, each as the one file that it asks for."""
    files = [("models", "two", MODEL), ("datasets", "clouds", DATASET), ("backends", "sign", BACKEND)]
    files += [("backends", "each", RANKS), ("backends", "alone", ALONE)]
    for folder, name, code in files:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.py").write_text(code)
    monkeypatch.setenv("DCBENCH_PLUGINS", str(tmp_path))
    return tmp_path


def test_the_names_can_be_chosen(plugins):
    assert [("two" in registry.names("model")), ("clouds" in registry.names("dataset"))] == [True, True]
    assert {"sign", "each"} <= set(registry.names("backend"))


def test_a_run_uses_all_three(plugins):
    fields = {"dataset": "clouds", "steps": 5, "batch_per_device": 16, "learning_rate": 0.1}
    specs = [dcbench.RunSpec(model="two", backend=backend, **fields) for backend in ("sign", "single")]
    own, usual = (dcbench.run(spec).result(120) for spec in specs)
    assert own.ok and usual.ok, own.reason or usual.reason
    assert own.data["source"] == "synthetic" and own.model["parameters"] == (4 * 64 + 64) + (64 * 3 + 3)
    assert own.loss[0] == pytest.approx(usual.loss[0])  # the same weights and rows at first
    assert abs(own.loss[-1] - usual.loss[-1]) > 1e-3  # and then other gradients


def test_a_backend_asks_for_one_process_a_device_and_proves_equal_weights(plugins):
    fields = {"model": "two", "dataset": "clouds", "steps": 5, "batch_per_device": 16, "oversubscribe": True}
    one, two = ({"backend": "single", "batch_per_device": 32}, {"backend": "each", "devices": 2})
    alone, each = (dcbench.run(dcbench.RunSpec(**fields | which)).result(120) for which in (one, two))
    assert alone.ok and each.ok, alone.reason or each.reason
    assert [p["devices"] for p in each.placement["processes"]] == [1, 1]
    assert each.checks["weights"] == "equal bit for bit on 2 ranks (6 variables)"  # 4 weights, 2 of the optimizer
    assert each.loss == pytest.approx(alone.loss, rel=1e-5)  # two halves of a batch make the step of the whole


def test_a_backend_of_several_processes_must_compare_their_weights(plugins):
    fields = {"model": "two", "dataset": "clouds", "steps": 5, "batch_per_device": 16, "oversubscribe": True}
    refused = dcbench.run(dcbench.RunSpec(backend="alone", devices=2, **fields)).result(120)
    assert not refused.ok
    assert "ran on 2 devices and does not say whether their weights are equal" in refused.reason


def test_a_notebook_is_listed_and_runs_in_batch(tmp_path):
    cells = [
        new_markdown_cell("# A notebook of one's own\n\nIt counts.\n\nIt takes a second."),
        new_code_cell("count: int = 2  # how far", metadata={"tags": ["parameters"]}),
        new_code_cell("print(f'counted to {count}')"),
    ]
    made = new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, tmp_path / "77_own.ipynb")
    (row,) = catalogue.notebooks(tmp_path).itertuples()
    assert (row.name, row.title) == ("77_own", "A notebook of one's own")
    report = batch.run_notebook(tmp_path / "77_own.ipynb", {"count": 5}, tmp_path / "reports")
    assert "counted to 5" in report.read_text()
