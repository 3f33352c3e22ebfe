"""Scripts that dcbench is measured against do the same work as dcbench; what is measured of a view is told right."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dcbench import datasets, models

FOLDER = Path(__file__).parent / "benchmarks"
CANVAS = """
import asyncio
import plotly.graph_objects as go
from dcbench import figures
from dcbench.widgets._canvas import Canvas
canvas = Canvas(figures.Figure(go.Figure(go.Scatter(y=[1, 2]))))
"""


def run_alone(script, *words, cache):
    """Run a script as one rank; return what it printed, and the shapes of its model and data."""
    pytest.importorskip("horovod.tensorflow")
    datasets.load("digits", {}, cache)
    shown = "print([w.shape for w in model.weights], images.shape, [type(l).__name__ for l in model.layers])"
    code = f"import runpy, sys; sys.argv[1:] = {[str(cache / 'digits.npz'), *words]!r}\n"
    code += f"globals().update(runpy.run_path({str(FOLDER / script)!r}))\n{shown}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def first_step(tmp_path_factory):
    return run_alone("first_step.py", cache=tmp_path_factory.mktemp("cache"))


def test_the_script_says_when_its_first_step_ended(first_step):
    assert re.search(r"^FIRST_STEP [\d.]+$", first_step, re.MULTILINE)


def test_the_script_trains_dcbenchs_mlp_on_dcbenchs_digits(first_step, tmp_path):
    data = datasets.load("digits", {}, tmp_path)
    model = models.build("mlp", data.input_shape, data.outputs, {})
    weights, layers = [w.shape for w in model.weights], [type(layer).__name__ for layer in model.layers]
    assert f"{weights} {data.x.shape} {layers}" in first_step


@pytest.fixture
def live(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("live")


def test_steps_end_where_their_batch_says(live):
    lost = {"phase": "train", "index": 0, "t_s": 9.0, "loss": [1.0]}
    warmup = {"phase": "warmup", "index": 0, "t_s": 9.5, "step_s": [0.5]}
    batches = [
        {"phase": "train", "index": 0, "t_s": 12.0, "step_s": [0.25, 0.5, 1.0]},
        {"phase": "train", "index": 3, "t_s": 14.0, "step_s": [2.0]},
    ]
    ends_s = live.ends_of_steps([lost, warmup, *batches])
    assert ends_s.tolist() == [10.5, 11.0, 12.0, 14.0]
    assert live.steps_within(ends_s, 10.75, 14.0).tolist() == [1.0, 2.0]


def test_blocks_in_turn_become_pairs_with_the_view_first(live):
    with_view, without = 1.5, 1.0
    assert live._paired([with_view, without, without, with_view]) == [(with_view, without)] * 2


def test_a_page_that_is_acted_runs_cells_and_counts_what_the_kernel_says(live):
    with live.Kernel() as kernel:
        assert kernel.run("import sys; print('out'); print('log', file=sys.stderr)") == "out\n"
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            kernel.run("1 / 0")
        kernel.run(CANVAS)
        kernel.run("while not canvas._widget._view_count: await asyncio.sleep(0.01)")
        said = kernel.said["comm_msg"]
        kernel.run("canvas.change({0: {'y': [2, 1]}})")
        assert kernel.changes == 1 and kernel.said["comm_msg"] > said
    assert not kernel.process.is_running()


@pytest.mark.parametrize("script", ["first_step.py", "plain_run.py"])
def test_the_script_imports_neither_dcbench_nor_what_it_does_not_need(script):
    tree = ast.parse((FOLDER / script).read_text())
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert names - {"os"} == {"sys", "time", "horovod.tensorflow", "keras", "numpy", "tensorflow"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


def test_the_plain_run_trains_dcbenchs_cnn_and_gives_its_rate(tmp_path):
    printed = run_alone("plain_run.py", "mirrored", "2", "32", "40", cache=tmp_path)
    rate, accuracy = map(float, re.search(r"RATE ([\d.]+) ACCURACY ([\d.]+)", printed).groups())
    assert rate > 0 and accuracy > 0.7
    data = datasets.load("digits", {}, tmp_path)
    model = models.build("cnn", data.input_shape, data.outputs, {})
    assert f"{[w.shape for w in model.weights]} {data.x.shape}" in printed
