"""What the README and CONTRIBUTING say can be done: their code parses, what they import and link to exists."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md")
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
BLOCKS = [(page, block) for page in PAGES for block in PYTHON.findall((ROOT / page).read_text())]


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_code_parses_and_finds_what_it_imports(page, block):
    tree = compile(block, page, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            find = pytest.importorskip if "horovod" in node.module else importlib.import_module
            home = find(node.module)
            assert all(hasattr(home, alias.name) for alias in node.names)


def test_the_keras_script_is_shown_with_the_three_parts_it_needs():
    (block,) = [b for page, b in BLOCKS if page == "README.md" and "hvd.init()" in b]
    for part in ("DistributedOptimizer(", "BroadcastState()", "MetricAverage()", "jit_compile=False"):
        assert part in block


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_are_there(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(r"`((?:dcbench|tests)/[a-z_/]+\.py)`", text)
    assert links or named
    assert [path for path in [*links, *named] if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page):
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) <= targets
