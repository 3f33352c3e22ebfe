"""Sweeps: which runs, in which order, how they go on after any end, and what is said of them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_records import fake_record

import dcbench
from dcbench import BackendUnavailable, Record, RunSpec, SpecError, StoreError, WorkerFailed, hardware, store
from dcbench.launch import placement
from dcbench.sweeps import SweepResult, checks, drift_of, flags_of, holding, order, running

STAND_IN = {"_entry": "stand_in_worker:main"}
LIMIT_S = 240  # other measurements on this machine come first
CORES = len(hardware.inspect_machine().cores)


def until(true: Callable[[], Any], limit_s: float = 60) -> None:
    """Wait for something; fail after the limit."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


# grids


def test_lists_are_axes_and_the_last_changes_fastest() -> None:
    found = dcbench.grid(model=("mlp", "cnn"), devices=range(1, 3), backend="horovod", model_args=[{}, {"units": 2}])
    shown = [(s.model, s.devices, s.model_args) for s in found]
    assert shown == [(m, d, a) for m in ("mlp", "cnn") for d in (1, 2) for a in ({}, {"units": 2})]
    assert {s.backend for s in found} == {"horovod"} and found.left_out == []


def test_global_batch_is_an_axis_of_strong_scaling() -> None:
    found = dcbench.grid(backend=["single", "mirrored"], devices=[1, 2], global_batch=[32, 33])
    assert [(s.backend, s.devices, s.batch_per_device) for s in found] == [
        ("single", 1, 32), ("single", 1, 33), ("mirrored", 1, 32), ("mirrored", 1, 33), ("mirrored", 2, 16)
    ]  # fmt: skip
    why = {(c["backend"], c["devices"], c["global_batch"]): reason for c, reason in found.left_out}
    assert sorted(why) == [("mirrored", 2, 33), ("single", 2, 32), ("single", 2, 33)]
    assert "cannot be shared equally" in why["mirrored", 2, 33] and "one device" in why["single", 2, 32]


def test_contradictions_are_left_out_and_named() -> None:
    asked = {"backend": ["independent", "horovod"], "transport": ["auto", "mpi"], "target_accuracy": [None, 0.9]}
    found = dcbench.grid(**asked, devices=2)
    left = {(c["backend"], c["transport"], c["target_accuracy"]) for c, _ in found.left_out}
    assert left == {("independent", "mpi", None), ("independent", "mpi", 0.9), ("independent", "auto", 0.9)}
    assert len(found) == 5


def test_equal_runs_count_once() -> None:
    assert len(dcbench.grid(model=["mlp", "mlp"], batch_per_device=[32, 32.0])) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"devices": []}, "the grid's axis 'devices' is empty; give at least one value"),
        ({"modle": ["mlp"]}, "unknown parameter 'modle'; did you mean 'model'?"),
        ({"devices": [1, 0], "backend": "horovod"}, "devices=0 is too small"),
        ({"model": ["mlp", "mpl"]}, "unknown model 'mpl'; did you mean 'mlp'?"),
        ({"global_batch": [32, -1]}, "global_batch=-1 is not a positive whole number"),
        ({"backend": "single", "devices": [2, 4]}, "none of the grid's 2 combinations can run; the first (devices=2):"),
        ({"backend": "single", "devices": 2}, "backend 'single' uses one device, devices=2 was asked"),
    ],
)
def test_bad_grids_are_one_sentence(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as error:
        dcbench.grid(**fields)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_value_that_only_fits_some_combinations_is_no_wrong_value() -> None:
    found = dcbench.grid(batch_per_device=[32, 48], accumulation=[1, 3])
    assert [(s.batch_per_device, s.accumulation) for s in found] == [(32, 1), (48, 1), (48, 3)]


# the order


def test_rounds_go_forwards_and_backwards_in_a_seeded_order() -> None:
    found = order.rounds(5, 4, seed=3)
    # NumPy's PCG64 of the seeds [3, 0] and [3, 1], and each reversed
    assert found == [[4, 2, 1, 3, 0], [0, 3, 1, 2, 4], [1, 4, 0, 2, 3], [3, 2, 0, 4, 1]]
    assert order.rounds(5, 3, seed=3) == found[:3] and order.rounds(5, 4, seed=4) != found
    assert order.rounds(2, 0, seed=0) == []


def test_more_repeats_move_no_place_and_the_order_of_the_list_does_not_matter() -> None:
    some = dcbench.grid(model=["mlp", "cnn", "linear"])
    short, long = (order.plan(s, n, 1, some[0]) for s, n in ((some, 2), (some[::-1], 4)))
    assert [p for p in short if p not in long] == [p for p in short if p.canary and p.round == 1]
    assert len({p.place for p in [*short, *long]}) == 3 + 2 * 3 + 3 + 2 * 3 + 3
    assert [p.place for p in long] == sorted(p.place for p in long)


def test_the_default_canary_is_the_same_for_every_order() -> None:
    singles = dcbench.grid(model=["mlp", "cnn", "linear"], batch_per_device=[16, 32])
    sought = [s.replace(target_accuracy=0.9) for s in singles]
    some = [RunSpec(backend="horovod"), *sought, *singles]
    chosen = checks.canary(None, some)
    assert chosen is not None and chosen.hash == min(s.hash for s in singles)
    assert all(checks.canary(None, some[k:] + some[:k]) == chosen for k in range(len(some)))
    assert checks.canary(None, sought) in sought and checks.canary(None, some[:1]) == some[0]


def test_key_tells_unlike_sweeps_apart() -> None:
    some, machine = dcbench.grid(model=["mlp", "cnn"]), hardware.inspect_machine()
    mine = order.key(some, 0, None, machine)
    assert mine == order.key(some[::-1], 0, None, machine)
    others = {
        order.key(some[:1], 0, None, machine),
        order.key(some, 1, None, machine),
        order.key(some, 0, some[0], machine),
        order.key(some, 0, None, types.SimpleNamespace(**vars(machine) | {"name": "another", "host": machine.host})),
    }
    assert len(others | {mine}) == 5


# running, with records in place of runs


class Pretence:
    """Stands in for `launch.run`: a run is a record, whose status `statuses` gives by the number of the run."""

    def __init__(self) -> None:
        self.places: list[dict[str, Any]] = []
        self.statuses: dict[int, str] = {}
        self.full: set[int] = set()  # runs that failed as the disk was full

    def run(self, spec: RunSpec, *, root: Path, sweep: dict[str, Any], **how: Any) -> Any:
        number = len(self.places)
        record = fake_record(seed=number, status=self.statuses.get(number, "ok"))
        record.spec, record.spec_hash, record.sweep = spec.to_dict(), spec.hash, dict(sweep)
        record.started_utc = f"2026-01-02T03:04:05.{number:03d}+00:00"
        record.duration_s = 2.0 if spec.model == "mlp" else 6.0
        run_dir = store.create(record.spec, record.spec_hash, root)
        record.run_id = run_dir.name
        self.places.append(sweep | {"model": spec.model})
        store.write(record, run_dir)
        full = record.reason if number in self.full else ""
        how = {"result": lambda: record, "cancel": lambda: None}
        return types.SimpleNamespace(spec=spec, run_dir=run_dir, disk_error=full, **how)


@pytest.fixture
def pretence(monkeypatch: pytest.MonkeyPatch) -> Pretence:
    made = Pretence()
    monkeypatch.setattr(running, "run", made.run)
    return made


SOME = dcbench.grid(model=["mlp", "cnn"], backend=["horovod", "single"])


def go(root: Path, **how: Any) -> SweepResult:
    return dcbench.sweep(how.pop("specs", SOME), root=root, **how).result(60)


def test_a_sweep_keeps_each_runs_place_and_reads_back_from_the_store(pretence: Pretence, tmp_path: Path) -> None:
    found = go(tmp_path, repeats=3, seed=7)
    planned = order.plan(SOME, 3, 7, checks.canary(None, SOME))
    kept = ["round", "place", "canary"]
    assert [[p[n] for n in kept] for p in pretence.places] == [[getattr(p, n) for n in kept] for p in planned]
    assert {(p["id"], p["seed"]) for p in pretence.places} == {(found.sweep_id, 7)}
    assert store.is_run_id(found.sweep_id)
    assert (len(found.records), len(found.canaries), found.failed, found.early) == (12, 6, [], "")
    again = SweepResult.from_records(dcbench.load_sweep(root=tmp_path))
    assert (again.sweep_id, again.flags, again.drift) == (found.sweep_id, found.flags, found.drift)
    assert found.drift is not None and found.drift.count > 0
    assert [r.sweep["place"] for r in again.records] == [r.sweep["place"] for r in found.records]
    assert found.sweep_id in repr(found)


def test_a_finished_sweep_is_started_anew_and_more_repeats_go_on(pretence: Pretence, tmp_path: Path) -> None:
    first = go(tmp_path, repeats=2)
    assert go(tmp_path, repeats=2).sweep_id != first.sweep_id
    second = go(tmp_path, repeats=1, seed=5)
    count = len(pretence.places)
    longer = go(tmp_path, repeats=3, seed=5)
    assert longer.sweep_id == second.sweep_id and len(pretence.places) == count + 2 * 4 + 3
    assert (len(longer.records), len(longer.canaries)) == (12, 9)
    assert len(go(tmp_path, repeats=2, seed=5).records) == 8  # all of it is there: a new sweep
    assert go(tmp_path, repeats=3, seed=5, resume=False).sweep_id not in (first.sweep_id, second.sweep_id)


@pytest.mark.parametrize("status", ["interrupted", "cancelled"])
def test_what_was_cut_off_goes_on_where_it_was(pretence: Pretence, tmp_path: Path, status: str) -> None:
    pretence.statuses = {6: status}
    early = go(tmp_path, repeats=2)
    assert len(pretence.places) == 7 and len(early.records) == 4
    assert early.early == f"{status} after 6 of 14 runs; the same call of sweep goes on there"
    assert early.flags[0] == early.early
    told: list[Any] = []
    whole = go(tmp_path, repeats=2, on_progress=told.append)
    assert whole.sweep_id == early.sweep_id and pretence.places[7]["place"] == pretence.places[6]["place"]
    assert (len(whole.records), len(whole.canaries), whole.early, whole.failed) == (8, 6, "", [])
    assert (told[0].done, told[0].resumed, told[-1].done, told[-1].total) == (6, 6, 14, 14)
    done = [p["place"] for n, p in enumerate(pretence.places) if n != 6]
    assert len(done) == len(set(done)) == 14


def test_a_failed_run_is_a_record_and_stops_nothing(pretence: Pretence, tmp_path: Path) -> None:
    pretence.statuses = {4: "failed", 5: "timeout", 8: "cancelled"}
    told: list[Any] = []
    found = go(tmp_path, repeats=2, on_progress=told.append)
    assert told[-1].failed == 2 and [r.status for r in found.failed] == ["failed", "timeout"]
    assert any(f.startswith("2 of 5 runs failed (") and "rank 1 was ended" in f for f in found.flags)
    count = len(pretence.places)
    mended = go(tmp_path, repeats=2)  # it was unfinished: what failed is tried again
    assert mended.sweep_id == found.sweep_id and mended.failed == []
    tried = [p["place"] for p in pretence.places[count:]]
    assert tried[:2] == [pretence.places[n]["place"] for n in (4, 5)] and len(tried) == 14 - 6
    assert len(store.load_records(tmp_path)) == 9 + 8  # nothing is thrown away


def test_a_sweep_whose_every_run_failed_says_so(pretence: Pretence, tmp_path: Path) -> None:
    pretence.statuses = dict.fromkeys(range(20), "failed")
    found = go(tmp_path, repeats=2)
    said = "all 8 runs of the sweep failed, so there is nothing to compare; the first: rank 1 was ended by SIGKILL"
    assert said in found.flags and found.drift is None
    with pytest.raises(WorkerFailed, match="all 8 runs of the sweep failed"):
        found.raise_if_all_failed()
    pretence.statuses = {}
    go(tmp_path, repeats=2).raise_if_all_failed()


def test_time_left_is_told_by_configuration(pretence: Pretence, tmp_path: Path) -> None:
    told: list[Any] = []
    asked = {"specs": dcbench.grid(model=["mlp", "cnn"]), "canary": False, "on_progress": told.append}
    assert go(tmp_path, repeats=4, **asked).flags == ["no canary ran: a drift of the machine would not show"]
    assert told[0].left_s is None and told[0].spec is None and str(told[0]) == "0 of 8 runs"
    # an mlp takes 2 s, a cnn 6 s: after the first round, three of each are left
    assert [(p.done, p.left_s) for p in told[2::2]] == [(2, 24), (4, 16), (6, 8), (8, 0)]
    assert str(told[4]) == "4 of 8 runs, about 16 s left"


def test_a_callback_that_fails_does_not_end_the_sweep(pretence: Pretence, tmp_path: Path, caplog: Any) -> None:
    assert len(go(tmp_path, repeats=1, on_progress=lambda p: 1 / 0).records) == 4
    assert "on_progress failed" in caplog.text


@pytest.mark.parametrize("error", [BackendUnavailable("no such build"), StoreError("the disk is full")])
def test_what_no_run_can_survive_ends_it_and_keeps_what_there_is(
    pretence: Pretence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def run(spec: RunSpec, **how: Any) -> Any:
        if len(pretence.places) == 5:
            raise error
        return pretence.run(spec, **how)

    monkeypatch.setattr(running, "run", run)
    with pytest.raises(type(error), match=str(error)):
        go(tmp_path, repeats=2)
    assert len(dcbench.load_sweep(root=tmp_path)) == 5
    monkeypatch.setattr(running, "run", pretence.run)
    assert len(go(tmp_path, repeats=2).records) == 8 and len(pretence.places) == 14


def test_a_full_disk_ends_it_though_the_failed_run_has_a_record(pretence: Pretence, tmp_path: Path) -> None:
    pretence.statuses, pretence.full = {2: "failed", 3: "failed"}, {3}
    with pytest.raises(StoreError, match=r"SIGKILL.*; the sweep ended after 4 of 14 runs, the same call"):
        go(tmp_path, repeats=2)
    pretence.statuses, pretence.full = {}, set()
    assert len(go(tmp_path, repeats=2).records) == 8 and len(pretence.places) == 14 + 2


def test_all_is_checked_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_many = dcbench.grid(backend=["single", "horovod"], devices=[1, CORES + 1], device_type="cpu")
    local = (x for x in ())
    bad: list[tuple[Any, dict[str, Any], str]] = [
        ([], {}, "a sweep of no configurations was asked for"),
        (["mlp"], {}, "a sweep runs RunSpecs, 'mlp' was given"),
        (SOME, {"repeats": 0}, "repeats=0 was given; give a whole number from 1"),
        (SOME, {"repeats": True}, "repeats=True was given"),
        (SOME, {"seed": -1}, "seed=-1 was given"),
        (SOME, {"canary": True}, "canary=True is a bool; give a RunSpec, or False"),
        (too_many, {}, f"asks for {CORES + 1} devices; this machine has {CORES}"),
        ([SOME[0], RunSpec(model=lambda shape, outputs: local)], {}, "cannot be sent"),
        (SOME, {"canary": RunSpec(knobs={"HOROVOD_RANK": 1})}, "HOROVOD_RANK"),
    ]
    monkeypatch.setattr(running, "run", None)
    for specs, how, said in bad:
        with pytest.raises(SpecError) as error:
            dcbench.sweep(specs, root=tmp_path / "runs", **how)
        assert said in str(error.value)
    assert not (tmp_path / "runs").exists()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot keep a sweep in .*file"):
        dcbench.sweep(SOME, root=tmp_path / "file")
    assert placement.plan(SOME[0], hardware.inspect_machine())  # what is refused above is not refused for all


# drift and flags


def canaries(start: list[float], end: list[float], status: str = "ok") -> list[Record]:
    found = []
    for place, (round_, speed) in enumerate([(-1, s) for s in start] + [(4, s) for s in end]):
        record = fake_record(status=status)
        record.sweep = {"id": "s", "round": round_, "place": place, "canary": True}
        record.metrics = {"throughput": speed} if status == "ok" else {}
        found.append(record)
    return found


def test_drift_is_the_canarys_ratio_of_end_to_start() -> None:
    found = drift_of(canaries([100.0, 102.0, 98.0], [90.0, 91.0, 89.0]))
    assert found is not None
    assert found.value == pytest.approx((90 * 91 * 89 / (100 * 102 * 98)) ** (1 / 3))
    assert found.low < found.value < found.high < 1
    assert drift_of(canaries([100.0, 102.0], [90.0])) is None
    assert drift_of(canaries([100.0, 102.0], [90.0, 91.0], status="failed")) is None


@pytest.mark.parametrize(
    ("start", "end", "flagged"),
    [
        ([100.0, 102.0, 98.0], [90.0, 91.0, 89.0], True),
        ([100.0, 100.1, 99.9], [98.0, 98.1, 97.9], False),  # shown, but small
        ([100.0, 140.0, 70.0], [90.0, 130.0, 65.0], False),  # large, but not shown
        ([100.0, 100.1, 99.9], [104.0, 104.1, 103.9], True),
        ([100.0, 100.1, 99.9], [102.8, 102.9, 102.7], False),  # the limit is 3 %
        ([100.0, 100.1, 99.9], [103.2, 103.3, 103.1], True),
        ([100.0, 100.1, 99.9], [96.8, 96.9, 96.7], True),
    ],
)
def test_drift_is_flagged_where_it_is_large_and_shown(start: list[float], end: list[float], flagged: bool) -> None:
    assert [f.startswith("drift: the canary ran at") for f in flags_of(canaries(start, end))] == [True] * flagged


def test_flags_of_runs_are_gathered_and_few_repeats_named() -> None:
    records = [fake_record(seed=k) for k in range(2)] + [fake_record("mirrored", 2)]
    records[0].flags = ["others used 0.61 of 2 cores while it ran"]
    records[1].flags = ["others used 1.2 of 2 cores while it ran", "oversubscribed: 2 devices on 1 CPU core"]
    assert flags_of(records) == [
        "one repeat, and so no interval, for 1 of 2 configurations",
        "2 of 3 runs flagged: others used 0.61 to 1.2 of 2 cores while it ran",
        "1 of 3 runs flagged: oversubscribed: 2 devices on 1 CPU core",
    ]
    assert flags_of(records[1:2])[0] == "one repeat: no intervals"
    assert flags_of([]) == []


@pytest.mark.parametrize("status", ["cancelled", "interrupted", "running"])
def test_a_run_that_was_cut_off_has_not_failed(status: str) -> None:
    cut, well, bad = fake_record(status=status), fake_record(), fake_record(status="failed")
    for record in (cut, well, bad):
        record.flags, record.sweep = [], {"id": "s", "round": 0, "canary": False}
    assert SweepResult.from_records([cut, well]).failed == []
    assert not any("failed" in flag for flag in flags_of([cut, well]))
    assert any(flag.startswith("1 of 2 runs failed") for flag in flags_of([cut, well, bad]))
    SweepResult.from_records([cut]).raise_if_all_failed()
    with pytest.raises(WorkerFailed, match="the only run of the sweep failed"):
        SweepResult.from_records([cut, bad]).raise_if_all_failed()


def test_flags_of_several_sweeps_are_told_apart() -> None:
    one, two = canaries([1.0, 1.0], [1.0, 1.0]), canaries([1.0, 1.01], [2.0, 2.01])
    for record in two:
        record.sweep["id"] = "t"
    assert [f.split(":")[:2] for f in flags_of(one + two)] == [["sweep t", " drift"]]


# running in truth


def stand_ins(*does: str) -> list[RunSpec]:
    return [RunSpec(steps=2, model_args={"do": do}) for do in does]


def test_cancel_ends_the_run_and_starts_no_other(tmp_path: Path) -> None:
    under_way = dcbench.sweep(stand_ins("sleep"), repeats=1, canary=False, root=tmp_path, **STAND_IN)
    until(lambda: under_way.running and under_way.running.status == "training", LIMIT_S)
    assert running.running_sweep() is under_way is running.running_sweep(under_way.sweep_id)
    assert running.running_sweep("another") is None
    assert under_way.progress.spec == stand_ins("sleep")[0] and "under way, 0 of 1 runs" in repr(under_way)
    with pytest.raises(TimeoutError):
        under_way.result(0.01)
    under_way.cancel()
    found = under_way.result(LIMIT_S)
    assert [r.status for r in found.records] == ["cancelled"] and under_way.done
    assert found.early == "cancelled after 0 of 1 runs; the same call of sweep goes on there"


def test_cancel_after_the_run_lets_it_end(tmp_path: Path) -> None:
    def told(progress: Any) -> None:
        if progress.done == 0:  # before the first run: that much is allowed
            threading.Thread(target=cancel_in_the_run).start()

    def cancel_in_the_run() -> None:
        until(lambda: made and made[0].running, LIMIT_S)
        made[0].cancel(after_run=True)

    made: list[Any] = []
    asked = {"repeats": 2, "canary": False, "root": tmp_path}
    made.append(dcbench.sweep([RunSpec(model="mlp", steps=1000)], on_progress=told, **asked))
    found = made[0].result(LIMIT_S)
    assert [r.status for r in found.records] == ["ok"] and found.early.startswith("cancelled after 1 of 2 runs")


def test_a_sweep_cancelled_before_its_first_run_is_empty(tmp_path: Path) -> None:
    told = threading.Event()
    under_way = dcbench.sweep(SOME, on_progress=lambda p: told.wait(LIMIT_S), root=tmp_path)
    under_way.cancel()
    told.set()
    found = under_way.result(LIMIT_S)
    assert (found.sweep_id, found.records, found.canaries) == (under_way.sweep_id, [], [])
    assert found.early.startswith("cancelled after 0 of 26 runs") and found.flags[0] == found.early
    found.raise_if_all_failed()


def test_the_same_sweep_is_under_way_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "LOCK_LIMIT_S", 0.2)
    asked = {"repeats": 1, "canary": False, "root": tmp_path, **STAND_IN}
    under_way = dcbench.sweep(stand_ins("sleep"), **asked)
    until(lambda: under_way.running)
    with pytest.raises(StoreError, match=f"process {os.getpid()} has the same configurations and is under way"):
        dcbench.sweep(stand_ins("sleep"), **asked)
    under_way.cancel()
    under_way.result(LIMIT_S)
    again = dcbench.sweep(stand_ins("sleep"), **asked)
    assert again.sweep_id == under_way.sweep_id
    again.cancel()
    again.result(LIMIT_S)


def test_await_and_its_cancelling(tmp_path: Path) -> None:
    async def cell(do: str, limit_s: float) -> SweepResult:
        asked = {"repeats": 1, "canary": False, "root": tmp_path, **STAND_IN}
        return await asyncio.wait_for(dcbench.sweep(stand_ins(do), **asked), limit_s)

    assert [r.status for r in asyncio.run(cell("train", LIMIT_S)).records] == ["ok"]
    with pytest.raises(TimeoutError):
        asyncio.run(cell("sleep", 1.0))
    until(lambda: store.load_sweep(root=tmp_path)[0].status == "cancelled")


def test_real_runs_of_several_backends_one_of_which_fails(tmp_path: Path) -> None:
    def broken(input_shape: Any, outputs: int) -> Any:
        raise ValueError("this model is broken")

    axes = {"backend": ["single", "horovod"], "devices": [1, 2]}
    some = [*dcbench.grid(model="mlp", steps=10, oversubscribe=CORES < 2, **axes), RunSpec(model=broken, steps=10)]
    found = dcbench.sweep(some, repeats=2, canary=False, root=tmp_path).result(LIMIT_S)
    assert len(found.records) == 2 * len(some)
    assert {r.spec_hash for r in found.failed} == {some[-1].hash} and "this model is broken" in found.failed[0].reason
    half = len(some)
    hashes = [r.spec_hash for r in found.records]
    assert hashes[:half] == hashes[half:][::-1]
    table = store.tidy(found.records)
    assert (table["sweep"] == found.sweep_id).all() and (table["round"].value_counts() == half).all()
    assert [f for f in found.flags if "runs failed (2 of single × 1)" in f and "this model is broken" in f]


SCRIPT = """
import os, signal, sys, threading, time, dcbench
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
def told(progress):
    if progress.done == {done}:
        threading.Thread(target=end, daemon=True).start()
def end():
    while "under_way" not in globals() or under_way.running is None or under_way.running.status != "training":
        time.sleep(0.001)
    os.kill(os.getpid(), signal.{by})
under_way = dcbench.sweep({what}, canary=False, on_progress=told)
under_way.result()
"""
ASLEEP = "dcbench.grid(model_args={'do': 'sleep'}, start='spawn', seed=[0, 1]), _entry='stand_in_worker:main'"


def script(tmp_path: Path, project: Path, **parts: Any) -> subprocess.CompletedProcess[str]:
    """Run a sweep in a process of its own, which is ended while it trains."""
    search = os.pathsep.join([str(project), str(project / "tests")])
    env = os.environ | {"PYTHONPATH": search, "DCBENCH_RUNS": str(tmp_path)}
    pipes = {"capture_output": True, "text": True, "timeout": LIMIT_S}
    return subprocess.run([sys.executable, "-c", SCRIPT.format(**parts)], env=env, cwd=tmp_path, check=False, **pipes)


@pytest.mark.parametrize(
    ("by", "status", "exits"), [("SIGINT", "cancelled", -signal.SIGINT), ("SIGTERM", "interrupted", 5)]
)
def test_the_end_of_its_process_starts_no_further_run(
    by: str, status: str, exits: int, tmp_path: Path, project: Path
) -> None:
    ended = script(tmp_path, project, done=0, by=by, what=ASLEEP)
    assert ended.returncode == exits, ended.stderr
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [r.run_id for r in store.load_sweep(root=tmp_path)]
    assert [r.status for r in store.load_sweep(root=tmp_path)] == [status]
