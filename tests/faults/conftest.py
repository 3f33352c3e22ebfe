"""For every fault: a hard time-out, a count of what is left behind, earlier runs that stay readable, a row in a table.

A test names its row by ``@pytest.mark.fault("what goes wrong", "what is promised")``, and takes `driver` for a process
of its own. Without ``pytest.mark.soak`` it runs in ``make test``; ``make soak`` runs all.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dcbench
from dcbench import RunSpec, store
from faults import census

HERE = Path(__file__).parent
LIMIT_S = 120  # a row that needs more says so itself
Row = tuple[str, str, str, float]
ROWS = pytest.StashKey[list[Row]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMIT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    row = item.get_closest_marker("fault")
    if row is not None and (report.when == "call" or report.outcome != "passed"):
        case = getattr(item, "callspec", None)
        what = f"{row.args[0]} [{case.id}]" if case else row.args[0]
        why = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
        outcome = {"passed": "kept", "failed": "BROKEN", "skipped": f"not run: {why.removeprefix('Skipped: ')}"}
        item.config.stash[ROWS].append((what, row.args[1], outcome[report.outcome], report.duration))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if not rows:
        return
    terminalreporter.section("faults")
    wide = [max(len(row[i]) for row in rows) for i in range(2)]
    for what, promise, outcome, took_s in rows:
        terminalreporter.write_line(f"{what:{wide[0]}}  {promise:{wide[1]}}  {took_s:5.1f} s  {outcome}")


@pytest.fixture(scope="package")
def mark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Mark every process that is begun from here on, and have a warm engine and a temporary folder of these tests."""
    value, folder = secrets.token_hex(8), tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(census.MARK, value)
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        dcbench.launch.stop_engines()  # one from before has no mark
        first = dcbench.run(RunSpec(model="linear", steps=5, warmup_max_steps=5)).result(LIMIT_S)
        assert first.ok, first.reason
        yield value
        dcbench.launch.stop_engines()


@pytest.fixture(autouse=True)
def nothing_is_left(mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a store of its own, and find nothing of it afterwards but readable runs."""
    runs = tmp_path / "runs"
    monkeypatch.setenv("DCBENCH_RUNS", str(runs))
    before = census.take(mark, Path(tempfile.gettempdir()), runs)
    yield
    assert not (left := census.left_over(before, mark, Path(tempfile.gettempdir()), runs)), f"left over: {left}"


@pytest.fixture
def driver(tmp_path: Path, project: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start source text as a script of its own, in the store of this test."""
    begun: list[subprocess.Popen[str]] = []

    def start(text: str, *words: str, **variables: str) -> subprocess.Popen[str]:
        path = tmp_path / f"script-{len(begun)}.py"
        path.write_text("import dcbench, os, signal, sys, time\nfrom dcbench import RunSpec\n" + text)
        search = os.pathsep.join([str(project), str(project / "tests")])
        env = os.environ | {"PYTHONPATH": search} | variables
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        begun.append(subprocess.Popen([sys.executable, str(path), *words], env=env, cwd=tmp_path, **pipes))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def reopened() -> list[dcbench.Record]:
    """Read every run of this test's store anew, by a reader that knows nothing of how they were made; oldest first."""
    paths = [path for path in store.run_directories(store.root()) if (path / "record.json").exists()]
    return sorted(map(store.load_record, paths), key=lambda record: record.started_utc)
