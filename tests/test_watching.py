"""Watching a run: what its directory tells, step by step, and how its end is told from a break."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_records import fake_record
from test_hardware import fake_nvml

from dcbench import gpus, store
from dcbench.errors import StoreError
from dcbench.figures import plot_live
from dcbench.spec import RunSpec
from dcbench.watching import UNDER_WAY, Thinned, Watch

HOST = socket.gethostname()
Write = Callable[..., None]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    spec = RunSpec(model="mlp", backend="horovod", devices=2, batch_per_device=32, steps=100)
    return store.create(spec.to_dict(), spec.hash, tmp_path)


@pytest.fixture
def write(run_dir: Path) -> Write:
    """Return a function that adds one event of a rank."""

    def add(rank: Any = 0, t_s: float = 1.0, **event: Any) -> None:
        with open(run_dir / "events.jsonl", "a") as file:
            file.write(json.dumps({"rank": rank, "host": HOST, "t_s": t_s, **event}) + "\n")

    return add


def train(write: Write, rank: int, index: int, step_s: list[float], t_s: float = 1.0) -> None:
    write(rank, t_s, phase="train", index=index, step_s=step_s)
    write(rank, t_s, phase="train", index=index, loss=[1.0 + rank] * len(step_s))


def test_points_are_means_of_equally_many_steps() -> None:
    series = Thinned(most=4)
    series.add([1, 3, 5, 7])
    assert (series.stride, series.means.tolist(), series.steps.tolist()) == (1, [1, 3, 5, 7], [1, 2, 3, 4])
    series.add([9])  # the fifth: pairs are merged, and it waits for the sixth
    assert (series.stride, series.means.tolist(), series.steps.tolist()) == (2, [2, 6], [1.5, 3.5])
    series.add([11])
    assert series.means.tolist() == [2, 6, 10]
    assert (series.count, series.total) == (6, 36.0)


@pytest.mark.parametrize("chunk", [1, 7, 5000])
def test_however_it_comes_a_long_series_ends_in_the_same_points(chunk: int) -> None:
    values = np.random.default_rng(0).normal(size=5000)
    series = Thinned(most=100)
    for first in range(0, len(values), chunk):
        series.add(values[first : first + chunk])
    assert series.stride == 64 and len(series.means) == 78
    assert series.means == pytest.approx(values[: 78 * 64].reshape(78, 64).mean(axis=1))
    few = series.at_most(20)
    assert few.stride == 256 and few.means == pytest.approx(values[: 19 * 256].reshape(19, 256).mean(axis=1))


def test_each_update_reads_what_was_added(run_dir: Path, write: Write) -> None:
    watch = Watch(run_dir)
    assert not watch.update()
    assert (watch.stage, watch.status, watch.steps_done, watch.steps_total) == ("starting", UNDER_WAY, 0, 100)
    write(0, state="warming up", pid=os.getpid())
    write(1, state="warming up", pid=1)
    write(0, phase="warmup", index=0, step_s=[0.5])
    write(0, phase="warmup", index=1, step_s=[0.1, 0.1])
    assert watch.update() and not watch.update()
    assert (watch.stage, watch.warmup_steps, watch.pids) == ("warming up", 3, {0: os.getpid(), 1: 1})
    train(write, 0, 0, [0.25, 0.25, 0.25, 0.25])
    train(write, 1, 0, [0.25, 0.25])
    train(write, 0, 4, [0.5])
    assert watch.update()
    assert watch.steps_done == 2  # of the slowest rank
    assert watch.step_times[0].means.tolist() == [0.25, 0.25, 0.25, 0.25, 0.5]
    assert watch.losses[1].means.tolist() == [2.0, 2.0]
    write(0, phase="test", index=5, loss=0.5, accuracy=0.9)
    write(0, phase="test", index=5, loss=0.25)
    watch.update()
    assert watch.tests == [(5, 0.5, 0.9), (5, 0.25, None)]


def test_a_line_that_is_still_written_is_read_when_it_is_whole(run_dir: Path, write: Write) -> None:
    watch = Watch(run_dir)
    train(write, 0, 0, [0.25])
    whole = (run_dir / "events.jsonl").read_text()
    (run_dir / "events.jsonl").write_text(whole[:-9])
    watch.update()
    assert watch.step_times[0].count == 1 and not watch.losses
    (run_dir / "events.jsonl").write_text(whole)
    watch.update()
    assert watch.step_times[0].count == 1 and watch.losses[0].count == 1


def test_the_pace_tells_the_time_left_and_the_throughput(run_dir: Path, write: Write) -> None:
    watch = Watch(run_dir)
    for rank in (0, 1):
        write(rank, 100.0, state="training")
        train(write, rank, 0, [0.25 * (1 + rank)] * 20, t_s=110.0)
    assert watch.left_s is None
    watch.update()
    assert watch.left_s == pytest.approx((100 - 20) * 10 / 20)
    seconds, rates = watch.rates  # of rank 1, which took twice as long: 64 examples in half a second
    assert seconds == pytest.approx(np.arange(1, 21) * 0.5)
    assert rates == pytest.approx([128.0] * 20)


def test_throughput_over_a_long_time_keeps_few_windows_and_all_examples(run_dir: Path, write: Write) -> None:
    watch = Watch(run_dir)
    train(write, 0, 0, [0.01] * 20_000)
    watch.update()
    seconds, rates = watch.rates
    assert 100 < len(seconds) <= 400
    assert rates == pytest.approx([6400.0] * len(rates))
    kept = watch.step_times[0]
    assert (rates * np.diff([0.0, *seconds])).sum() == pytest.approx(64 * len(kept.means) * kept.stride)


@pytest.mark.parametrize(("other", "named"), [(0.13, (1, 1.3)), (0.11, None)])
def test_a_straggler_is_a_fifth_slower_than_the_others(
    run_dir: Path, write: Write, other: float, named: tuple[int, float] | None
) -> None:
    watch = Watch(run_dir)
    train(write, 0, 0, [0.1] * 9 + [5.0])  # one long step makes none
    train(write, 1, 0, [other] * 10)
    watch.update()
    assert watch.straggler == (None if named is None else (named[0], pytest.approx(named[1])))


def test_foreign_lines_are_left_out(run_dir: Path, write: Write) -> None:
    watch = Watch(run_dir)
    (run_dir / "events.jsonl").write_text('not JSON\n[1]\n{"state": "x"}\n')
    for rank in (2, -1, "x", None):
        write(rank, phase="train", index=0, step_s=[0.1])
    write(0, phase="train", index=0, step_s="abc")
    write(0, phase="train", index="?", loss=[1.0])
    write(0, phase="train", index=0, step_s=[[0.1]])
    write(0, phase="test", index=0)
    train(write, 0, 0, [0.1, 0.1])
    train(write, 0, 1, [0.9, 0.2])  # one of them is there already
    watch.update()
    assert list(watch.step_times) == [0] and watch.step_times[0].means.tolist() == [0.1, 0.1, 0.2]
    assert watch.tests == [] and watch.steps_done == 3


@pytest.mark.parametrize("event", [
    {"rank": math.inf, "phase": "train", "index": 0, "step_s": [0.1]},
    {"phase": "train", "index": 0, "loss": [10**400]},
    {"phase": "train", "index": 10**400, "loss": [1.0]},
    {"phase": "test", "index": 10**400, "loss": 1.0},
    {"phase": "test", "index": 1, "loss": 10**400},
    {"state": "training", "pid": -1},
    {"state": "training", "t_s": 10**400},
])  # fmt: skip
def test_numbers_that_are_none_of_a_run_are_left_out(run_dir: Path, write: Write, event: dict[str, Any]) -> None:
    watch = Watch(run_dir)
    write(**event)
    watch.update()
    plot_live(watch, watch.usage())
    assert not (watch.losses or watch.step_times or watch.tests or watch.pids) and not watch.ended


def test_steps_that_take_no_time_make_no_straggler(run_dir: Path, write: Write) -> None:
    watch = Watch(run_dir)
    train(write, 0, 0, [0.0])
    train(write, 1, 0, [0.1])
    watch.update()
    assert watch.straggler is None
    plot_live(watch)


@pytest.mark.parametrize("field", [{"backend": ["x"]}, {"backend": None}, {"devices": 10**400}, {"global_batch": True}])
def test_a_damaged_specification_is_a_sentence(run_dir: Path, field: dict[str, Any]) -> None:
    spec = json.loads((run_dir / "spec.json").read_text())
    (run_dir / "spec.json").write_text(json.dumps(spec | field))
    with pytest.raises(StoreError, match=f"is damaged: {next(iter(field))} is"):
        Watch(run_dir)


def test_events_that_cannot_be_read_are_told_unless_there_is_a_record(run_dir: Path) -> None:
    (run_dir / "events.jsonl").mkdir(parents=True)
    watch, later = Watch(run_dir), Watch(run_dir)
    assert watch.update() and watch.status == "damaged" and "its events cannot be read" in watch.reason
    record = fake_record("horovod", 2)
    record.run_id = run_dir.name
    store.write(record, run_dir)
    assert later.update() and later.status == "ok"


def test_a_record_with_a_memory_that_no_machine_has_is_drawn() -> None:
    record = fake_record("horovod", 2)
    record.workers = [{"rank": 0, "peak_host_bytes": 10**400}, {"rank": 1, "peak_host_bytes": 2**30}]
    memory = next(t for t in plot_live(record).data if t.name == "host memory")
    assert (list(memory.x), list(memory.y)) == ([1.0], ["rank 1"])


def test_a_record_ends_it(run_dir: Path, write: Write) -> None:
    watch = Watch(run_dir)
    train(write, 0, 0, [0.1])
    watch.update()
    record = fake_record("horovod", 2, status="failed")
    record.run_id = run_dir.name
    store.write(record, run_dir)
    assert watch.update() and watch.ended and not watch.update()
    assert (watch.status, watch.reason) == ("failed", "rank 1 was ended by SIGKILL")
    assert watch.record is not None and watch.record.run_id == run_dir.name
    assert watch.step_times[0].count == 1  # as logged


def test_a_run_whose_process_has_gone_was_interrupted(run_dir: Path) -> None:
    about = json.loads((run_dir / "owner.json").read_text())
    (run_dir / "owner.json").write_text(json.dumps(about | {"start_ticks": about["start_ticks"] - 60}))
    watch = Watch(run_dir)
    assert watch.update()
    assert watch.status == "interrupted" and watch.reason == "the process that made it has gone, and left no record"


@pytest.mark.parametrize("how", ["whole", "in the middle"])
def test_a_run_that_is_deleted_is_told_in_a_sentence(run_dir: Path, how: str) -> None:
    watch = Watch(run_dir)
    watch.update()
    if how == "whole":
        shutil.rmtree(run_dir)
    else:
        (run_dir / "owner.json").unlink()
    assert watch.update()
    assert watch.status == "deleted" and watch.reason.endswith("was removed while it was watched")


def test_damage_is_told(run_dir: Path) -> None:
    watch = Watch(run_dir)
    (run_dir / "record.json").write_text("{")
    assert watch.update()
    assert watch.status == "damaged" and "is damaged: it is not JSON" in watch.reason
    (run_dir / "record.json").unlink()
    (run_dir / "spec.json").write_text('{"devices": "two", "global_batch": 4}')
    with pytest.raises(StoreError):
        Watch(run_dir)
    with pytest.raises(StoreError, match="there is no run 'nothing'"):
        Watch("nothing", run_dir.parent)


def test_the_handle_tells_what_no_file_does(run_dir: Path) -> None:
    handle = types.SimpleNamespace(run_dir=run_dir, status="waiting for another measurement", done=False)
    watch = Watch(handle)
    assert watch.update() and watch.stage == "waiting for another measurement"
    handle.status = "starting"
    assert watch.update() and watch.stage == "starting"

    def result() -> None:
        raise StoreError("cannot write record.json: the disk is full")

    handle.done, handle.result = True, result
    assert watch.update()
    assert (watch.status, watch.reason) == ("damaged", "cannot write record.json: the disk is full")


def test_whatever_kept_a_handle_from_its_record_is_told(run_dir: Path) -> None:
    def result() -> None:
        raise OSError(28, "No space left on device")

    watch = Watch(types.SimpleNamespace(run_dir=run_dir, status="failed", done=True, result=result))
    assert watch.update() and watch.status == "damaged" and "No space left on device" in watch.reason


def test_a_record_alone_is_shown_by_its_samples() -> None:
    record = fake_record("horovod", 2)
    watch = Watch(record)
    assert watch.ended and not watch.update() and watch.usage() == []
    assert watch.step_times[1].means == pytest.approx(record.step_s[1])
    assert watch.losses[0].means == pytest.approx(record.rank_loss[0])
    assert (watch.steps_done, watch.name) == (40, "cnn on digits, horovod × 2")
    assert watch.as_record() is record


def test_recorded_samples_are_shown() -> None:
    found = sorted(store.samples().iterdir())[0]
    watch = Watch(found)
    watch.update()
    assert watch.ended and watch.steps_done == len(watch.record.loss)


def test_before_a_record_the_machine_is_this_one(run_dir: Path) -> None:
    found = Watch(run_dir).as_record()
    assert found.status == "running" and found.machine["host"] == HOST and found.spec["devices"] == 2


def test_what_the_processes_use(run_dir: Path, write: Write) -> None:
    watch = Watch(run_dir)
    write(0, state="training", pid=os.getpid())
    write(1, state="training", pid=2**22 + 1)  # more than any process has
    watch.update()
    first, second = watch.usage(), watch.usage()
    assert [u.rank for u in first] == [0] and first[0].host_bytes > 10**7
    assert math.isnan(first[0].core_share) and second[0].core_share >= 0
    assert first[0].gpu_bytes is None and first[0].gpu_share is None


def test_what_the_gpus_of_a_rank_do(run_dir: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {
        "nvmlDeviceGetMemoryInfo": lambda h: types.SimpleNamespace(total=80 * 2**30, used=(h + 1) * 2**30),
        "nvmlDeviceGetUtilizationRates": lambda h: types.SimpleNamespace(gpu=50 + 25 * h),
    }
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "_nvml", lambda: fake_nvml(2, **memory))
    watch = Watch(run_dir)
    for rank in (0, 1):
        write(rank, state="training", pid=os.getpid())
    watch.update()
    assert [(u.gpu_bytes, u.gpu_share) for u in watch.usage()] == [(2**30, 0.5), (2 * 2**30, 0.75)]


def test_nvml_is_opened_once_and_a_gpu_that_tells_no_share_tells_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def refuse(handle: int) -> None:
        raise nvml.NVMLError("Not Supported")

    nvml = fake_nvml(
        1,
        nvmlInit=lambda: opened.append("init"),
        nvmlShutdown=lambda: opened.append("shutdown"),
        nvmlDeviceGetMemoryInfo=lambda h: types.SimpleNamespace(total=2**40, used=2**30),
        nvmlDeviceGetUtilizationRates=refuse,
    )
    monkeypatch.setattr(gpus, "_nvml", lambda: nvml)
    gauge = gpus.Gauge()
    assert [gauge.look([0]) for _ in range(3)] == [{0: (2**30, None)}] * 3
    assert opened == ["init"]
    del gauge
    assert opened == ["init", "shutdown"]
