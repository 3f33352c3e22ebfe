"""The table of layers in code: who may import whom, where TensorFlow may live, and the form of a module."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dcbench

PACKAGE = Path(dcbench.__file__).parent
CONTRACT = {
    "errors", "redaction", "registry", "functions", "options", "spec", "metrics", "parts", "record", "channel", "stats",
}  # fmt: skip
FACTS = {"gpus", "hardware", "store"}
ENGINE = {"datasets", "models", "backends", "timing", "training", "worker"}
CONTROL = {"launch", "sweeps"}
ANALYSIS = {
    "catalogue", "comparison", "findings", "descent", "effects", "replicas", "timeline", "bottleneck", "perfmodel",
    "cost", "selection", "watching",
}  # fmt: skip
VIEWS = {"terminal", "figures", "widgets", "doctor", "batch", "cli", "__main__"}
LAYERS = (CONTRACT, FACTS, ENGINE, CONTROL, ANALYSIS, VIEWS)
ALONE = {"datasets", "models", "backends", "timing"}  # parts that `training` combines ignore one another
ENDS = {"widgets": set(), "batch": {"cli"}, "cli": {"__main__"}, "doctor": {"cli"}, "worker": set()}  # imported by
HEAVY = {"tensorflow", "keras", "horovod"}
MOST_LINES = 300
MOST_FUNCTION_LINES = 40  # of code; a function that passes 30 asks to be split, one that passes 40 is refused

FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(f.relative_to(PACKAGE)) for f in FILES]


def part(file: Path) -> str:
    """Return the module or sub-package directly below ``dcbench`` that a file belongs to."""
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py") if first != "__init__.py" else "dcbench"


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of everything imported anywhere in a file, with ``from`` names where they are modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the full name of what is imported"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found = PACKAGE.parent / whole.replace(".", "/")
                yield whole if found.is_dir() or found.with_suffix(".py").exists() else str(node.module)


def own(tree: ast.AST) -> set[str]:
    """Return the parts of dcbench that a file imports."""
    names = [n.split(".") for n in imports(tree) if n.split(".")[0] == "dcbench"]
    return {n[1] for n in names if len(n) > 1}


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def rank(name: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


def test_every_module_has_its_place() -> None:
    placed = set().union(*LAYERS) | {"dcbench"}
    assert {part(f) for f in FILES} <= placed
    assert sum(map(len, LAYERS)) == len(placed) - 1


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_imports_go_only_upwards(file: Path) -> None:
    name = part(file)
    used = own(parse(file)) - {name}
    if name == "dcbench":
        assert not used, "the package's front loads each name when it is used"
        return
    assert not [u for u in used if rank(u) > rank(name)]
    if name not in ENGINE:
        assert not used & ENGINE, "only the worker leads to the engine; name it as a string"
    if name in ALONE:
        assert not used & ENGINE
    assert not [u for u in used if u in ENDS and name not in ENDS[u]]


def test_no_part_imports_itself_through_others() -> None:
    graph: dict[str, set[str]] = {}
    for file in FILES:
        top = [n for n in parse(file).body if isinstance(n, ast.Import | ast.ImportFrom)]
        graph.setdefault(part(file), set()).update(own(ast.Module(top, [])) - {part(file)})
    done: set[str] = set()
    while ready := [n for n in graph if n not in done and graph[n] <= done]:
        done.update(ready)
    assert done == set(graph)


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_tensorflow_lives_in_the_engine(file: Path) -> None:
    tree = parse(file)
    heavy = {n for n in imports(tree) if n.split(".")[0] in HEAVY}
    if part(file) == "launch":
        heavy = {n for n in heavy if not n.startswith("horovod.runner")}  # the rendezvous, without TensorFlow
    if part(file) not in ENGINE:
        assert not heavy
    if part(file) in ("models", "datasets"):  # chosen by name, so loaded before it is known what they need
        top = ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        assert not {n for n in imports(top) if n.split(".")[0] in HEAVY}


def test_ipywidgets_only_in_widgets() -> None:
    using = {part(f) for f in FILES if any(n.split(".")[0] == "ipywidgets" for n in imports(parse(f)))}
    assert using <= {"widgets"}


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_everything_but_the_engine_imports_no_tensorflow() -> None:
    light = sorted(
        ".".join(f.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for f in FILES
        if part(f) not in ENGINE and f.name != "__main__.py"
    )
    program = f"""
import importlib, sys
for name in {light!r}:
    importlib.import_module(name)
    found = [m for m in {sorted(HEAVY)!r} if m in sys.modules]
    assert not found, (name, found)
print("clean")
"""
    assert run(program) == "clean"


def test_importing_dcbench_and_making_a_spec_loads_nothing_slow() -> None:
    slow = ["tensorflow", "keras", "horovod", "pandas", "scipy", "sklearn", "plotly", "matplotlib", "IPython"]
    program = f"import sys, dcbench; dcbench.RunSpec(); print([m for m in {slow!r} if m in sys.modules])"
    assert run(program) == "[]"


def test_public_names_exist() -> None:
    for name in dcbench.__all__:
        home = importlib.import_module(f"dcbench.{dcbench._HOMES[name]}")
        assert getattr(dcbench, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dcbench.nothing


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_form_of_a_module(file: Path) -> None:
    tree = parse(file)
    assert (ast.get_docstring(tree) or "").split("\n\n")[0].rstrip().endswith((".", ":")), "begin with one sentence"
    assert len(file.read_text().splitlines()) <= MOST_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = code_lines(node)
            assert lines <= MOST_FUNCTION_LINES, f"{node.name} has {lines} lines"


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    first = node.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = first.end_lineno + 1 if has_docstring else first.lineno
    return (node.end_lineno or start) - start + 1


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_public_things_have_docstrings(file: Path) -> None:
    tree = parse(file)
    bare = [
        n.name
        for n in tree.body
        if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_") and not ast.get_docstring(n)
    ]
    assert not bare


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_library_code_does_not_print_or_exit(file: Path) -> None:
    speaking = ("cli", "terminal", "__main__", "worker", "batch")  # to a person or to a log
    if part(file) in speaking or file.parts[-2:] == ("launch", "server.py"):  # a process of its own
        return
    calls = [n.func for n in ast.walk(parse(file)) if isinstance(n, ast.Call)]
    named = {f.id for f in calls if isinstance(f, ast.Name)} | {
        f"{f.value.id}.{f.attr}" for f in calls if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name)
    }
    assert not named & {"print", "exit", "quit", "sys.exit"}
