"""Numbers that are none: losses that are not finite, clocks that jump, and clocks that stand still."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_records import fake_study

import dcbench
from dcbench import Record, RunSpec, figures, findings, stats, store
from dcbench.cli.run import summary
from dcbench.errors import SpecError
from dcbench.record import Series, training_metrics
from faults.conftest import reopened
from faults.misdeeds import FILE
from faults.test_ranks import misbehaving

LIMIT_S = 90
NO_NUMBER = re.compile(r"(?<![a-z])(inf|nan|infinity|∞)(?![a-z])", re.IGNORECASE)


@pytest.mark.fault("a loss is no finite number", "stopped at that step: diverged, no throughput, valid JSON")
@pytest.mark.parametrize("value", ["nan", pytest.param("inf", marks=pytest.mark.soak)])
@pytest.mark.parametrize("backend", ["horovod", pytest.param("mirrored", marks=pytest.mark.soak)])
def test_a_loss_that_is_no_number(value: str, backend: str, tmp_path: Path) -> None:
    record = dcbench.run(misbehaving(value, tmp_path / "moment", backend=backend)).result(LIMIT_S)
    found = re.fullmatch(r"the loss became \[.*\] at step (\d+) \(train\)", record.reason)
    assert record.status == "diverged" and found, record.reason
    assert record.step_s.shape[1] in (int(found[1]), int(found[1]) + 1)  # nothing after it
    assert "throughput" not in record.metrics and "examples/s" not in summary(record) + repr(record)
    with pytest.raises(SpecError, match="none of the runs was completed"):
        figures.plot_throughput(reopened())
    text = (Path(record.path) / "record.json").read_text()
    json.loads(text, parse_constant=pytest.fail)
    for line in (Path(record.path) / "events.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


JUMPING = f"""
import datetime, itertools, json
import dcbench.launch.handle, dcbench.store.runs

jumps, true = itertools.cycle([-3600.0, 86400.0]), time.time

class Jumping(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(true() + next(jumps), tz)

dcbench.launch.handle.datetime = dcbench.store.runs.datetime = Jumping
time.time = lambda: true() + next(jumps)
begun = time.monotonic()
specs = [RunSpec(model={FILE!r} + ":jumpy", steps=n, warmup_max_steps=5) for n in (3, 4, 5)]
result = dcbench.sweep(specs, repeats=1, canary=False).result({LIMIT_S})
about = [[r.status, r.sweep["place"], r.spec["steps"], r.duration_s, r.metrics] for r in result.records]
print(json.dumps([about, time.monotonic() - begun]))
"""


@pytest.mark.fault("the wall clock jumps", "durations, throughput and the order of runs stay as they are")
def test_a_clock_that_jumps(driver: Callable[..., subprocess.Popen[str]]) -> None:
    script = driver(JUMPING)
    told, errors = script.communicate(timeout=LIMIT_S)
    assert script.returncode == 0, errors
    runs, took_s = json.loads(told)
    assert [place for _, place, *_ in runs] == [0, 1, 2]
    for status, _, steps, duration_s, metrics in runs:
        assert status == "ok" and 0 < metrics["block_s"] < duration_s < took_s
        assert 0 < metrics["first_step_s"] < duration_s
        assert metrics["throughput"] == pytest.approx(steps * 32 / metrics["block_s"])
    assert sum(duration_s for *_, duration_s, _ in runs) < took_s
    assert len(reopened()) == 3


WALL = {"time", "time_ns", "now", "utcnow", "today", "getmtime"}


def _reads_wall_clock(node: ast.AST, names: set[str]) -> bool:
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr in WALL:
            return True
        if isinstance(each, ast.Attribute) and each.attr.startswith("st_mtime"):
            return True
        if isinstance(each, ast.Name) and each.id in names:
            return True
    return False


def differences_of_wall_clocks(source: str) -> list[str]:
    """Return the subtractions in which a wall clock's time takes part, by itself or by the name given to it."""
    found = []
    for scope in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)):
        names: set[str] = set()
        for each in (n for n in ast.walk(scope) if isinstance(n, ast.Assign)):
            if _reads_wall_clock(each.value, set()):
                names |= {t.id for t in each.targets if isinstance(t, ast.Name)}
        for each in (n for n in ast.walk(scope) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Sub)):
            if _reads_wall_clock(each, names):
                found.append(ast.unparse(each))
    return found


@pytest.mark.fault("code takes a duration from a wall clock", "none does")
def test_no_duration_comes_from_a_wall_clock(project: Path) -> None:
    assert differences_of_wall_clocks("def f():\n a = time.time()\n return time.monotonic() - a") != []
    files = sorted((project / "dcbench").rglob("*.py"))
    found = [f"{f.name}: {said}" for f in files for said in differences_of_wall_clocks(f.read_text())]
    assert found == ["logs.py: time.time() - time.monotonic()"]  # where TensorBoard's axis begins: no duration


@pytest.mark.fault("the clock of the steps stands still", "no throughput, and the record says why")
def test_a_clock_that_stands_still() -> None:
    record = dcbench.run(RunSpec(model=f"{FILE}:frozen", steps=5, warmup_max_steps=5)).result(LIMIT_S)
    assert record.ok, record.reason
    assert not {"throughput", "step_s", "block_s"} & set(record.metrics)
    assert "its timed block took no time by its clock, so it has no throughput" in record.flags
    assert not NO_NUMBER.search(summary(record)) and not NO_NUMBER.search(figures.plot_step_times([record]).to_json())


def still(record: Record) -> Record:
    """Take all time out of a record."""
    record.samples = [
        Series(s.rank, s.host, s.phase, s.index, [0.0] * len(s.values)) if s.phase == "step_s" else s
        for s in record.samples
    ]
    record.metrics = training_metrics(record.samples, {0: 0.0}, 32, 1e6)
    return record


VIEWS = {
    "throughput": lambda runs: figures.plot_throughput(runs).to_json(),
    "scaling": lambda runs: figures.plot_scaling(runs).to_json(),
    "runs": lambda runs: figures.plot_runs(runs).to_json(),
    "steps": lambda runs: figures.plot_step_times(runs).to_json(),
    "run": lambda runs: figures.plot_run(runs[0]).to_json(),
    "findings": lambda runs: str(findings.scaling(runs) + findings.choice(runs)),
    "cautions": lambda runs: str(findings.cautions(runs)),
    "compare": lambda runs: str(dcbench.compare([runs[0]], [runs[1]], allow_unlike=True)),
    "table": lambda runs: str(stats.scaling(store.tidy(runs))["throughput"].map(lambda e: e.value).tolist()),
}


@pytest.mark.fault("records of steps that took no time", "a sentence or nothing, never an infinite throughput")
@pytest.mark.parametrize("every", [1, 4], ids=["all", "some"])
@pytest.mark.filterwarnings("error")
def test_records_without_time(every: int) -> None:
    runs = [still(r) if n % every == 0 else r for n, r in enumerate(fake_study(2))]
    for name, view in VIEWS.items():
        try:
            shown = view(runs)
        except SpecError as error:
            shown = str(error)
        assert shown and not NO_NUMBER.search(shown), name
