"""A sweep goes on: with what was asked then and only that, and with nothing for done that did not end well."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dcbench
from dcbench import RunSpec, SpecError, store
from dcbench.launch import lock
from dcbench.launch.recovery import REASON
from dcbench.sweeps import SweepResult
from faults.conftest import reopened
from faults.misdeeds import FILE

LIMIT_S = 90
SHORT: dict[str, Any] = {"model": "linear", "steps": 5, "warmup_max_steps": 5}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a measuring lock of this test alone: that of the machine may be held for longer than a row may take."""
    monkeypatch.setattr(lock, "SHARED_FOLDER", tmp_path)


def until(do: str, path: Path, **fields: object) -> RunSpec:
    """Return a run that misbehaves as long as a file is not there."""
    about = {"do": f"{do} until {path}", "at": 40, "examples": 96, "moment": f"{path}.at"}
    return RunSpec(**(SHORT | {"dataset": f"{FILE}:rows", "dataset_args": about, "hang_limit_s": 600} | fields))


def swept(specs: list[RunSpec], repeats: int = 1, stop_after: int = 0, **how: Any) -> SweepResult:
    """Make a sweep, which is cancelled once it has made so many runs of its own."""
    made: list[Any] = []

    def told(progress: Any) -> None:
        if stop_after and progress.done - progress.resumed == stop_after:
            made[0].cancel()

    made.append(dcbench.sweep(specs, repeats, canary=False, on_progress=told, **how))
    return made[0].result(LIMIT_S)


def places(result: SweepResult) -> dict[int, tuple[str, str]]:
    assert len({r.sweep["place"] for r in result.records}) == len(result.records)
    return {r.sweep["place"]: (r.spec_hash, r.status) for r in result.records}


@pytest.mark.fault("a sweep's specification has changed", "a new sweep; the old one can still go on; none is mixed")
def test_a_changed_specification() -> None:
    old = [RunSpec(**SHORT), RunSpec(**SHORT | {"steps": 6})]
    new = [old[0], RunSpec(**SHORT | {"steps": 7})]
    cut = swept(old, stop_after=1)
    assert cut.early.startswith("cancelled after 1 of 2 runs")
    other = swept(new)
    whole = swept(old)
    assert other.sweep_id != cut.sweep_id == whole.sweep_id
    for result, specs in ((other, new), (whole, old)):
        assert {h for h, _ in places(result).values()} == {s.hash for s in specs}
        assert [r.ok for r in result.records] == [True, True]
    assert len(reopened()) == 4 and cut.records[0].run_id in {r.run_id for r in whole.records}


MODEL = """
import keras
def own(input_shape, outputs):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(outputs)])
"""


@pytest.mark.fault("a model's file is edited under a sweep", "it ends there and says so; none is mixed")
def test_an_edited_file(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(MODEL)
    specs = [RunSpec(**SHORT | {"model": f"{path}:own", "steps": steps}) for steps in (5, 6)]
    before = {s.hash for s in specs}

    def edit(progress: Any) -> None:
        if progress.done == 1:
            path.write_text(MODEL + "# edited\n")

    with pytest.raises(SpecError) as error:
        dcbench.sweep(specs, 1, canary=False, on_progress=edit).result(LIMIT_S)
    [first] = reopened()
    said = f"sweep {first.sweep['id']} was asked for with {path}:own as it was then, and that file has been edited"
    assert str(error.value) == f"{said}; start it again for a new sweep, or undo the edit to go on with this one"
    after = swept(specs)
    assert after.sweep_id != first.sweep["id"] and not {r.spec_hash for r in after.records} & before
    path.write_text(MODEL)
    whole = swept(specs)
    assert whole.sweep_id == first.sweep["id"] and {h for h, _ in places(whole).values()} == before
    assert len(reopened()) == 4


@pytest.mark.fault("runs failed or timed out", "they are done again; those that ended well are not")
@pytest.mark.parametrize(
    ("do", "status", "fields"),
    [
        ("exit 3", "failed", {}),
        pytest.param("sleep", "timeout", {"time_limit_s": 12.0}, marks=pytest.mark.soak),
    ],
    ids=["failed", "timeout"],
)
def test_what_did_not_end_well(do: str, status: str, fields: dict[str, Any], tmp_path: Path) -> None:
    bad, good = until(do, tmp_path / "mended", **fields), RunSpec(**SHORT)
    first = swept([bad, good])
    found = dict(places(first).values())
    assert found == {bad.hash: status, good.hash: "ok"}
    (tmp_path / "mended").touch()
    second = swept([bad, good], repeats=2)
    assert second.sweep_id == first.sweep_id and sorted(places(second)) == [0, 1, 2, 3]
    assert {s for _, s in places(second).values()} == {"ok"}
    assert sorted(r.status for r in reopened()) == sorted([status, *["ok"] * 4])


@pytest.mark.fault("a sweep's driver is killed in mid-run", "resumed, each place is there once")
def test_a_killed_driver(driver: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    go = tmp_path / "go"
    specs = [until("sleep", go, steps=steps) for steps in (6, 7)] + [RunSpec(**SHORT)]
    code = (
        "import json, pathlib\nfrom dcbench.launch import lock\nlock.SHARED_FOLDER = pathlib.Path(sys.argv[3])\n"
        "specs = [RunSpec.from_dict(s) for s in json.loads(sys.argv[1])]\n"
        "made = dcbench.sweep(specs, 1, canary=False)\nwhile True:\n"
        "    now = made.running\n"
        "    if now and os.path.exists(sys.argv[2]):\n"
        "        print(made.sweep_id, now.run_id, made.progress.done, flush=True)\n        time.sleep(600)\n"
        "    time.sleep(0.01)\n"
    )
    process = driver(code, json.dumps([s.to_dict() for s in specs]), f"{go}.at", str(tmp_path))
    assert process.stdout is not None
    sweep, run, done = process.stdout.readline().split()
    process.send_signal(signal.SIGKILL)
    assert process.wait(LIMIT_S) == -signal.SIGKILL
    before = reopened()
    assert len(before) == int(done) and not (store.root() / run / "record.json").exists()
    go.touch()
    result = swept(specs)
    if before:
        assert result.sweep_id == sweep and before[0].run_id in {r.run_id for r in result.records}
    assert {p: s for p, (_, s) in places(result).items()} == dict.fromkeys(range(3), "ok")
    lost = store.load_record(run)
    assert (lost.status, lost.reason) == ("interrupted", REASON)
    assert sorted(r.status for r in reopened()) == ["interrupted", "ok", "ok", "ok"]
    assert len(store.load_records()) == 4
