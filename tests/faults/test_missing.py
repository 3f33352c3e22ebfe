"""Something is not installed here: that is said, with what to do, and all else works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

import dcbench
from faults.conftest import reopened

pytestmark = pytest.mark.soak
PACKAGES = Path(sysconfig.get_paths()["purelib"])
# of every Python that is begun: the folder of packages is replaced by one that lacks some
REPLACE = "import sys\nsys.path[:] = [{folder!r} if p == {packages!r} else p for p in sys.path]\n"
ASK = """
import json
from dcbench import doctor, inspect_machine, widgets
from dcbench.errors import DcbenchError
from dcbench.launch.proposal import unavailable
from widget_parts import every
said = {"checks": {c.name: [c.ok, c.detail, c.advice] for c in doctor.checks()}}
said["form"] = unavailable("horovod", inspect_machine())
form = [w for w in every(widgets.launch_form()) if getattr(w, "description", "") == "backend"]
said["label"] = [label for w in form for label, value in w.options if value == "horovod"]
try:
    dcbench.run(RunSpec(model="linear", backend="horovod", devices=2, oversubscribe=True))
except DcbenchError as error:
    said["run"] = [type(error).__name__, str(error)]
for backend, devices in (("single", 1), ("mirrored", 2), ("independent", 2)):
    spec = RunSpec(model="linear", backend=backend, devices=devices, steps=5, warmup_max_steps=5, oversubscribe=True)
    said[backend] = dcbench.run(spec).result(100).status
print(json.dumps(said))
"""


def without(folder: Path, *names: str) -> str:
    """Make a folder of all installed packages but some; return what goes first in ``PYTHONPATH``."""
    mirror, start = folder / "packages", folder / "start"
    for made in (mirror, start):
        made.mkdir(parents=True)
    for entry in PACKAGES.iterdir():
        if not entry.name.startswith(names):
            (mirror / entry.name).symlink_to(entry)
    (start / "sitecustomize.py").write_text(REPLACE.format(folder=str(mirror), packages=str(PACKAGES)))
    return str(start)


def path_of(*first: str, project: Path) -> str:
    return os.pathsep.join([*first, str(project), str(project / "tests")])


@pytest.mark.fault("Horovod is missing", "said by doctor, form and run; the other backends train")
@pytest.mark.parametrize("how", ["not installed", "without its library"])
def test_without_horovod(how: str, tmp_path: Path, project: Path, driver: Callable[..., subprocess.Popen[str]]) -> None:
    start = without(tmp_path, "horovod")
    if how == "without its library":  # as after an update of Python, or a copy of half of it
        (tmp_path / "packages" / "horovod").mkdir()
        (tmp_path / "packages" / "horovod" / "__init__.py").touch()
        [about] = PACKAGES.glob("horovod-*.dist-info")
        (tmp_path / "packages" / about.name).symlink_to(about)
    out, trouble = driver(ASK, PYTHONPATH=path_of(start, project=project)).communicate(timeout=110)
    said = json.loads(out.splitlines()[-1]) if out else pytest.fail(trouble)
    why = {"not installed": "which is not installed", "without its library": "the installed one has no such part"}[how]
    assert said["form"].startswith("backend 'horovod' needs Horovod") and why in said["form"]
    assert [label.startswith("horovod (needs Horovod") for label in said["label"]] == [True]
    assert said["run"] == ["BackendUnavailable", said["form"]]
    assert "build it with 'make setup', or choose backend='mirrored'" in said["form"]
    checks = said["checks"]
    assert checks["Horovod's build"][0] is False and "Horovod does not load" in checks["Horovod's build"][1]
    assert checks["two-rank training"][:2] == [False, said["form"]]
    assert checks["horovod"][0] is (how != "not installed")
    assert checks["tensorflow"][0] and checks["devices"][0]
    assert [said[b] for b in ("single", "mirrored", "independent")] == ["ok"] * 3
    assert [r.status for r in reopened()] == ["ok"] * 3


GPU = """
from dcbench.errors import DcbenchError
nccl = {"transport": "nccl", "backend": "horovod", "devices": 2, "oversubscribe": True}
for fields in ({"device_type": "gpu"}, nccl):
    try:
        dcbench.run(RunSpec(model="linear", **fields))
    except DcbenchError as error:
        print(type(error).__name__, error)
print(dcbench.run(RunSpec(model="linear", steps=5, warmup_max_steps=5)).result(100).status)
"""


@pytest.mark.fault("a GPU is asked for and there is none", "said with what was looked for; CPU cores train")
@pytest.mark.parametrize("how", ["no GPU", "nothing to look with"])
def test_without_a_gpu(how: str, tmp_path: Path, project: Path, driver: Callable[..., subprocess.Popen[str]]) -> None:
    if dcbench.inspect_machine().gpus:
        pytest.skip("this machine has a GPU; its absence is shown on one without")
    first = [without(tmp_path, "pynvml", "nvidia_ml_py")] if how == "nothing to look with" else []
    out, trouble = driver(GPU, PYTHONPATH=path_of(*first, project=project)).communicate(timeout=100)
    asked, transport, trained = out.splitlines() or pytest.fail(trouble)
    assert asked.startswith("BackendUnavailable device_type='gpu' asks for 1 GPU; this machine has none (")
    assert asked.endswith("; use device_type='cpu'")
    assert ("nvidia-ml-py is not installed" in asked) is (how == "nothing to look with")
    assert "transport='nccl' needs GPUs; this run is on CPU cores; use transport='gloo'" in transport
    assert trained == "ok"


@pytest.mark.fault("Chromium is missing", "the report is there; the PDF is refused with what to install")
def test_without_chromium(tmp_path: Path, project: Path) -> None:
    cell = nbformat.v4.new_code_cell("steps: int = 2  # timed steps", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "small.ipynb")
    env = {name: value for name, value in os.environ.items() if name not in ("CHROMIUM", "BROWSER_PATH")}
    env |= {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": path_of(project=project)}

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "dcbench", *words]
        return subprocess.run(line, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)

    done = command("batch", "small.ipynb", "--pdf", "--output", "reports")
    assert done.returncode == 2
    report = Path(done.stdout.strip())
    assert report.suffix == ".html" and report.read_text().startswith("<!DOCTYPE html>")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("dcbench: a PDF is printed by Chromium or Chrome and there is none on PATH; install one")
    again = command("pdf", str(report))
    assert (again.returncode, again.stdout) == (2, "") and "there is none on PATH" in again.stderr
    assert sorted(p.suffix for p in report.parent.iterdir()) == [".html", ".ipynb"]
    trained = command("run", "--model", "linear", "--steps", "5", "--warmup-max-steps", "5")
    assert trained.returncode == 0, trained.stderr
