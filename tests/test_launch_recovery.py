"""Runs whose process was killed get a record of what they had done; nobody else's run is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_records import fake_record

from dcbench import store
from dcbench.launch import leftovers, recovery

HERE = Path(__file__).parent
SWEEP = {"id": "20260102T030000-abcdef", "key": "0" * 16, "seed": 0, "round": 1, "place": 3, "canary": False}
DRIVER = """
import sys
sys.path.insert(0, {here!r})
import dcbench
from dcbench.launch import handle
spec = dcbench.RunSpec(backend="independent", devices=2, oversubscribe=True, model_args={{"do": "sleep"}})
run = handle.run(spec, _entry="stand_in_worker:main")
for event in run.events():
    print(run.run_dir, flush=True)
"""


@pytest.fixture
def abandoned(tmp_path: Path) -> Path:
    """A run of a process that has ended."""
    record = fake_record("horovod", 2)
    run_dir = store.create(record.spec, record.spec_hash, tmp_path, SWEEP)
    with subprocess.Popen(["true"]) as gone:
        pass
    (run_dir / "owner.json").write_text(json.dumps(store.owner(run_dir) | {"pid": gone.pid}))
    common = {"host": "h", "phase": "train", "index": 0, "loss": [2.0, 1.5]}
    lines = [common | {"rank": r, "t_s": 10.0 + r} for r in range(2)]
    (run_dir / "events.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines) + '{"torn')
    return run_dir


def test_a_killed_process_leaves_a_run_that_is_recovered(tmp_path: Path) -> None:
    environment = os.environ | {"DCBENCH_RUNS": str(tmp_path)}
    code = DRIVER.format(here=str(HERE))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as driver:
        run_dir = Path(driver.stdout.readline().strip())
        assert recovery.recover(tmp_path) == []  # it is under way
        pids = [json.loads(p.read_text())["pid"] for p in run_dir.glob("report-*.json")]
        driver.send_signal(signal.SIGKILL)
    [record] = recovery.recover(tmp_path)
    assert (record.status, record.reason) == ("interrupted", recovery.REASON)
    assert record.run_id == run_dir.name and record.spec["devices"] == 2 and record.machine["host"]
    assert record.rank_loss.shape[1] == 2 and record.metrics == {}
    assert store.load_record(run_dir).spec_hash == record.spec_hash != ""
    assert list(store.load_records(tmp_path)["status"]) == ["interrupted"]
    assert recovery.recover(tmp_path) == []
    limit = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < limit:
        time.sleep(0.1)
    assert pids and not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_what_was_done_is_in_the_record(abandoned: Path) -> None:
    [record] = recovery.recover(abandoned.parent)
    assert record.rank_loss.tolist() == [[2.0, 1.5], [2.0, 1.5]]
    assert record.duration_s == 1.0 and record.started_utc.startswith("20")
    assert "put together afterwards" in record.flags[0] and record.sweep == SWEEP


@pytest.mark.parametrize("name", ["spec.json", "owner.json"])
def test_what_is_damaged_stays_as_it_is(abandoned: Path, name: str) -> None:
    (abandoned / name).write_text("[]")
    assert recovery.recover(abandoned.parent) == [] and not (abandoned / "record.json").exists()


def test_another_hosts_run_is_left_alone(abandoned: Path) -> None:
    (abandoned / "owner.json").write_text(json.dumps(store.owner(abandoned) | {"host": "elsewhere"}))
    assert recovery.recover(abandoned.parent) == []


def test_once_is_once(abandoned: Path) -> None:
    assert len(recovery.recover_once(abandoned.parent)) == 1
    (abandoned / "record.json").unlink()
    assert recovery.recover_once(abandoned.parent) == []
    assert recovery.recover_once(abandoned / "absent") == []


def test_only_what_carries_the_mark_is_ended() -> None:
    marks = ["0123.0", "0123", "01234.0", "0123.10"]
    begun = [
        subprocess.Popen(["sleep", "60"], env=os.environ | {leftovers.VARIABLE: mark}, start_new_session=True)
        for mark in marks
    ]
    named = subprocess.Popen(["sleep", "60"], env=os.environ | {"OTHER": f"{leftovers.VARIABLE}=0123.0"})
    try:
        assert leftovers.end("0123.0") == {begun[0].pid} and begun[0].wait(10) == -signal.SIGKILL
        assert leftovers.end("0123") == {begun[1].pid, begun[3].pid}
        assert begun[2].poll() is None and named.poll() is None
    finally:
        for process in (*begun, named):
            process.kill()
            process.wait()


def test_what_an_abandoned_run_left_is_ended_and_removed(abandoned: Path, tmp_path_factory, monkeypatch) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    mark = store.mark_of(store.owner(abandoned))
    assert len(mark) == 16 and mark != store.mark_of() and store.mark_of({"pid": 1}) == ""
    for name in (f"dcbench-{mark}.0-x", f"dcbench-{mark}-mpi-x", f"dcbench-{store.mark_of()}.0-x"):
        (temporary / name).mkdir()
    with subprocess.Popen(["sleep", "60"], env=os.environ | {leftovers.VARIABLE: f"{mark}.3"}) as left:
        recovery.recover(abandoned.parent)
        assert left.wait(10) == -signal.SIGKILL
    assert [path.name for path in temporary.iterdir()] == [f"dcbench-{store.mark_of()}.0-x"]
