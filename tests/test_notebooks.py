"""Every notebook has the form of a short talk, carries no outputs, and runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from dcbench import catalogue
from dcbench.batch import parameter

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SMALL = {
    "00_start_here": [
        {"repeats": 2, "steps": 10, "batch_per_device": 16, "backend": "horovod", "devices": 2, "device_type": "cpu"},
        {"repeats": 1, "steps": 10, "batch_per_device": 16},
    ],
    "01_training_math": [{"steps": 20, "batch": 4, "epochs": 1}],
    "02_models": [{"epochs": 1, "resnet_steps": 1, "repeats": 1, "examples": 40, "steps": 20}],
    "03_mirrored_strategy": [
        {"repeats": 1, "steps": 10, "batch_sizes": [16], "factors": [2], "epochs": 1, "seeds": 1, "device_type": "cpu"}
    ],
    "04_horovod": [{"repeats": 1, "steps": 10, "batch_per_device": 16, "device_type": "cpu"}],
    "05_scaling_study": [
        {"repeats": 2, "steps": 10, "batch_sizes": [16], "target_accuracy": 0.3, "target_steps": 20},
        {"repeats": 1, "steps": 10, "models": ["mlp", "linear"], "mode": "strong", "batch_sizes": [16],
         "backends": ["horovod"], "device_counts": [1], "device_type": "cpu", "target_accuracy": 0},
        {"source": "samples"},
    ],
}  # fmt: skip


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def tagged(notebook, tag):
    return [c for c in notebook.cells if tag in c.metadata.get("tags", [])]


def test_the_main_job_is_there():
    assert "05_scaling_study" in [p.stem for p in NOTEBOOKS]


def test_it_opens_with_title_goals_and_time(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \S", first.source)
    assert 2 <= len(re.findall(r"^- ", first.source, re.MULTILINE)) <= 4
    assert re.search(r"minute|second", first.source)
    (group,) = first.metadata["tags"]  # its band on the map of the series
    assert group in catalogue.GROUPS


def test_parameters_are_typed_literals_with_their_meaning(path, notebook):
    (cell,) = tagged(notebook, "parameters")
    assert notebook.cells.index(cell) == 1
    declared = parameter.declared(path)
    assert len(declared) == len(cell.source.splitlines())
    for known in declared.values():
        assert known.meaning, known.name
        assert parameter.checked(path, declared, {known.name: known.default}) == {known.name: known.default}


def test_code_comes_in_short_cells_after_a_claim(notebook):
    codes = [c for c in notebook.cells if c.cell_type == "code" and "parameters" not in c.metadata.get("tags", [])]
    lengths = sorted(len(c.source.splitlines()) for c in codes)
    assert lengths[-1] <= 10
    assert lengths[len(lengths) // 2] <= 4
    assert sum(c.cell_type == "markdown" for c in notebook.cells) >= len(codes) / 2


def test_it_ends_with_checks_and_a_conclusion(notebook):
    assert any(c.source.startswith("assert ") for c in notebook.cells)
    headings = [c.source.splitlines()[0] for c in notebook.cells if c.source.startswith("## ")]
    assert headings[-2:] == ["## Checks", "## Conclusion"]


def test_each_widget_has_a_static_twin(notebook):
    codes = [c.source for c in notebook.cells if c.cell_type == "code"]
    explored = [i for i, source in enumerate(codes) if re.search(r"widgets\.(explore|live|compare|launch)_", source)]
    assert explored
    for place in explored:
        near = codes[max(0, place - 1) : place + 3]  # the figure that a report keeps stands beside it
        twins = ("figures.plot_", ".figure", "form.proposal.python")  # a form's twin is the line that it stands for
        assert any(twin in source for source in near for twin in twins), codes[place]


def test_it_is_kept_without_outputs_and_machine_state(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        assert set(cell.metadata) <= {"tags"}


def test_nbstripout_has_nothing_to_strip(path):
    command = [sys.executable, "-m", "nbstripout", "--verify", str(path)]
    subprocess.run(command, check=True, timeout=60)


def test_every_notebook_has_small_parameters():
    assert {p.stem for p in NOTEBOOKS} == set(SMALL)


@pytest.mark.parametrize(("stem", "small"), [(stem, small) for stem, sets in SMALL.items() for small in sets])
def test_it_runs_with_small_parameters(stem, small, tmp_path):
    path = FOLDER / f"{stem}.ipynb"
    copy = tmp_path / path.name
    papermill.execute_notebook(path, copy, small, prepare_only=True, progress_bar=False)
    assert tagged(nbformat.read(copy, as_version=4), "injected-parameters")
    flags = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=180", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *flags, f"--rootdir={tmp_path}", "-c", os.devnull, str(copy)]
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    run = {"cwd": FOLDER, "env": environment, "capture_output": True, "text": True, "timeout": 280}
    done = subprocess.run(command, check=False, **run)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    cells = sum(c["cell_type"] == "code" for c in json.loads(copy.read_text())["cells"])
    assert f"{cells} passed" in done.stdout


def test_the_scaling_study_refuses_devices_that_are_not_there_before_it_runs_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path / "runs"))
    wishes = {"device_counts": [1, 2**12], "device_type": "cpu"}
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(
            FOLDER / "05_scaling_study.ipynb", tmp_path / "study.ipynb", wishes, cwd=FOLDER.parent, progress_bar=False
        )
    assert caught.value.ename == "SpecError"
    assert "asks for 4096 devices; this machine has" in caught.value.evalue
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize("wishes", [{"batch_sizes": []}, {"repeats": 0}, {"models": []}, {"mode": "sideways"}])
def test_the_scaling_study_refuses_what_cannot_be_studied(tmp_path, monkeypatch, wishes):
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path / "runs"))
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(
            FOLDER / "05_scaling_study.ipynb", tmp_path / "study.ipynb", wishes, cwd=FOLDER.parent, progress_bar=False
        )
    assert caught.value.ename == "SpecError"
    assert not list((tmp_path / "runs").glob("*"))
