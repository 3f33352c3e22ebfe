"""Nothing that is read can become code: no pickle, no shell, no evaluation of text, in any file of the package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
FILES = sorted(p for folder in ("dcbench", "packaging") for p in (PROJECT / folder).rglob("*.py"))
RUNS = {"eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
UNPICKLES = {"pickle", "_pickle", "dill", "joblib", "shelve", "marshal", "torch"}  # and what they are named by
READS = {"load", "loads", "Unpickler", "open", "read_pickle", "load_model", "unsafe_load", "full_load", "load_all"}
SAFE = {  # what a reader must be told
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "load_model": ("safe_mode", True),
}
# of the functions that this very user handed to `run`: over a socket pair from the process that started the worker
PRIVATE_CHANNEL = ("worker.py", "cloudpickle.loads")


def named(node: ast.expr) -> str:
    """Return a dotted name as written; empty for any other expression."""
    if isinstance(node, ast.Attribute):
        return f"{named(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def dangers(tree: ast.AST) -> list[str]:
    """Return every call that could run what it is given."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            found += [f"import {m}" for m in modules if m.split(".")[0] in UNPICKLES]
        if not isinstance(node, ast.Call):
            continue
        name, keywords = named(node.func), {k.arg: getattr(k.value, "value", None) for k in node.keywords}
        first, _, last = name.rpartition(".")
        if name in RUNS or last == "read_pickle" or (first == "cloudpickle" and last in READS):
            found.append(name)
        if first == "yaml" and last != "safe_load" and last in READS:
            found.append(name)
        if keywords.get("shell"):
            found.append(f"{name}(shell=True)")
        for reader, (option, value) in SAFE.items():
            if (name == reader or (last == reader)) and keywords.get(option) is not value:
                found.append(f"{name} without {option}={value}")
        if keywords.get("allow_pickle") or keywords.get("safe_mode") is False:
            found.append(f"{name} is told to read objects")
    return found


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(PROJECT)) for f in FILES])
def test_nothing_that_is_read_becomes_code(file: Path) -> None:
    found = dangers(ast.parse(file.read_text()))
    if file.name == PRIVATE_CHANNEL[0]:
        found.remove(PRIVATE_CHANNEL[1])  # once
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "eval(text)",
        "exec(text)",
        "os.system(text)",
        "import pickle",
        "from pickle import loads",
        "cloudpickle.load(file)",
        "cloudpickle.loads(data)",
        "subprocess.run(text, shell=True)",
        "subprocess.Popen(text, shell=1)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "keras.saving.load_model(path)",
        "keras.models.load_model(path, safe_mode=False)",
        "import torch",
        "pd.read_pickle(path)",
    ],
)
def test_each_danger_is_seen(text: str) -> None:
    assert dangers(ast.parse(text))


def test_what_is_safe_passes() -> None:
    text = "np.load(p, allow_pickle=False); np.loadtxt(p); yaml.safe_load(t); json.loads(t); self.load(p)"
    assert dangers(ast.parse(text)) == []


def test_notebooks_read_models_in_safe_mode() -> None:
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        text = path.read_text()
        assert text.count("load_model(") == text.count("safe_mode=True"), path.name
        assert "allow_pickle=True" not in text and "shell=True" not in text, path.name
