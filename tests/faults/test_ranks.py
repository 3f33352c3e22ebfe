"""A rank is lost, or does not answer any more."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import dcbench
from dcbench import Record, RunSpec
from faults.conftest import reopened
from faults.misdeeds import FILE

LOST_S, HUNG_S = 10, 30  # since the fault, as promised
LIMIT_S = 90


def misbehaving(do: str, moment: Path, **fields: object) -> RunSpec:
    """Return a run of two ranks by Horovod whose second one misbehaves in its timed block."""
    about = {"do": do, "moment": str(moment), "at": 4_000, "examples": 5_000}
    common = {"model": "linear", "dataset": f"{FILE}:rows", "dataset_args": about, "oversubscribe": True}
    return RunSpec(**(common | {"backend": "horovod", "devices": 2, "steps": 500, "warmup_max_steps": 10} | fields))


def ended(spec: RunSpec, moment: Path) -> tuple[Record, float]:
    """Return the record of a run, and how long after its fault there was one (s)."""
    record = dcbench.run(spec).result(LIMIT_S)
    return record, time.monotonic() - float(moment.read_text())


@pytest.mark.fault("a rank is lost", "failed, rank and signal named, within 10 s; the next run is well")
@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("SIGKILL", "rank 1 was ended by SIGKILL"),
        ("SIGSEGV", "rank 1 was ended by SIGSEGV"),
        ("exit 3", "rank 1 ended with exit status 3"),
    ],
    ids=["SIGKILL", "SIGSEGV", "exit 3"],
)
def test_a_lost_rank(do: str, said: str, tmp_path: Path) -> None:
    record, after_s = ended(misbehaving(do, tmp_path / "moment"), tmp_path / "moment")
    assert record.status == "failed" and said in record.reason, record.reason
    assert after_s < LOST_S
    assert len(record.loss) > 10 and "throughput" not in record.metrics
    assert all(worker["exit"] is not None for worker in record.workers)  # the peer was reaped as well
    assert [r.reason for r in reopened()] == [record.reason]


@pytest.mark.fault("a rank is lost in a sweep", "the sweep goes on, and names the run that failed")
def test_a_lost_rank_in_a_sweep(tmp_path: Path) -> None:
    good = [misbehaving("nothing", tmp_path, steps=steps) for steps in (5, 6)]
    bad = misbehaving("SIGKILL", tmp_path / "moment")
    result = dcbench.sweep([good[0], bad, good[1]], repeats=1, canary=False).result(LIMIT_S)
    status = {r.spec["steps"]: r.status for r in result.records}
    assert status == {5: "ok", 500: "failed", 6: "ok"}
    failed = next(r for r in reopened() if not r.ok)
    assert failed.reason.startswith("rank 1 was ended by SIGKILL")
    assert result.flags[0] == f"1 of 3 runs failed (1 of horovod × 2); the first: {failed.reason}"


@pytest.mark.fault("a rank is stopped", "failed within 30 s, its state named, stacks of the others")
@pytest.mark.parametrize(
    ("backend", "stopped"),
    [pytest.param("horovod", 1, id="horovod"), pytest.param("mirrored", 0, id="mirrored", marks=pytest.mark.soak)],
)
def test_a_stopped_rank(backend: str, stopped: int, tmp_path: Path) -> None:
    record, after_s = ended(misbehaving("SIGSTOP", tmp_path / "moment", backend=backend), tmp_path / "moment")
    pid = record.workers[stopped]["pid"]
    said = f"rank {stopped} (process {pid}) has been stopped by a signal (state T) and was not continued; "
    others = "where the ranks were is at the end of rank-0.log" if stopped else "none of them answered"
    assert (record.status, record.reason) == ("failed", said + others)
    assert after_s < HUNG_S
    if stopped:
        assert "most recent call first" in Path(record.path, "rank-0.log").read_text() and len(record.loss) > 10
    assert [r.reason for r in reopened()] == [record.reason]


@pytest.mark.fault("a rank sleeps before an all-reduce", "failed within 30 s, stacks of all ranks")
@pytest.mark.parametrize("limit_s", [3.0, pytest.param(None, marks=pytest.mark.soak)], ids=["3 s", "default"])
def test_a_sleeping_rank(limit_s: float | None, tmp_path: Path) -> None:
    fields = {} if limit_s is None else {"hang_limit_s": limit_s}
    record, after_s = ended(misbehaving("sleep", tmp_path / "moment", **fields), tmp_path / "moment")
    assert record.status == "failed" and record.reason.startswith("no rank has made a step for "), record.reason
    assert all(f"rank {r} (process {w['pid']}, state S)" in record.reason for r, w in enumerate(record.workers))
    assert record.reason.endswith("where the ranks were is at the end of rank-0.log, rank-1.log")
    assert after_s < HUNG_S
    logs = [Path(record.path, f"rank-{rank}.log").read_text() for rank in range(2)]
    assert all("most recent call first" in log for log in logs) and "in misbehave" in logs[1]
    assert len(record.loss) > 10 and [r.reason for r in reopened()] == [record.reason]


def sleeps_while_traced(input_shape: tuple[int, ...], outputs: int, pause_s: float):
    """Take long to be traced, each time."""
    import time

    import keras

    class Slow(keras.layers.Dense):
        def call(self, inputs, training=None):
            time.sleep(pause_s)
            return super().call(inputs)

    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), Slow(outputs)])


@pytest.mark.fault("tracing takes long", "it is not taken for a hang")
def test_long_tracing() -> None:
    slow = {"model": sleeps_while_traced, "model_args": {"pause_s": 1.5}, "hang_limit_s": 0.5}
    record = dcbench.run(RunSpec(**slow, backend="horovod", devices=2, steps=5, warmup_max_steps=5)).result(LIMIT_S)
    assert record.ok, record.reason
