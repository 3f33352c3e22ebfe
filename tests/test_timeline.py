"""Horovod's timeline: steps, ranks and bytes from a written-out example and from a recorded file."""

import json
from pathlib import Path

import pytest

from dcbench.errors import StoreError
from dcbench.timeline import read_timeline

RECORDED = Path(__file__).with_name("horovod_timeline.json")  # the barrier, then two of six gradients in three steps


def reduction(tensor, ready_us, start_us, end_us, dtype="float32", shape="[2, 3]"):
    """Write out one all-reduce: when each rank was ready, and when all of it began and ended."""
    first, last = min(ready_us), max(ready_us)
    ready = [{"ph": "X", "name": str(r), "ts": at, "pid": tensor, "dur": 0} for r, at in enumerate(ready_us)]
    return [
        {"ph": "B", "name": "NEGOTIATE_ALLREDUCE", "ts": first, "pid": tensor},
        *ready,
        {"ph": "E", "ts": last, "pid": tensor},
        {"ph": "i", "name": "CYCLE_START", "ts": last, "s": "g"},
        {"ph": "B", "name": "ALLREDUCE", "ts": start_us, "pid": tensor},
        {"ph": "B", "name": "GLOO_ALLREDUCE", "ts": start_us + 1, "pid": tensor},
        {"ph": "E", "ts": end_us - 1, "pid": tensor},
        {"ph": "E", "ts": end_us, "pid": tensor, "args": {"dtype": dtype, "shape": shape}},
    ]


TWO_STEPS = [
    {"name": "process_name", "ph": "M", "pid": 7, "args": {"name": "HorovodAllreduce"}},
    *reduction(7, (10, 20), 30, 50, shape="[1]"),
    *reduction(1, (100, 110), 120, 200),
    *reduction(2, (100, 110), 120, 220, dtype="bfloat16", shape="[]"),
    *reduction(1, (320, 300), 330, 400),
    *reduction(2, (320, 300), 330, 420, dtype="bfloat16", shape="[]"),
]


@pytest.fixture
def written(tmp_path):
    def write(events, end="]"):
        path = tmp_path / "timeline.json"
        path.write_text(json.dumps(events)[:-1] + end)
        return path

    return write


def test_each_rank_computes_waits_and_exchanges(written):
    steps = read_timeline(written(TWO_STEPS)).steps()
    micro = (steps.set_index(["step", "rank"]) * 1e6).round().astype(int)
    assert micro.columns.tolist() == ["start_s", "ready_s", "all_ready_s", "end_s"]
    assert micro.loc[(1, 0)].tolist() == [220, 320, 320, 420]
    assert micro.loc[(1, 1)].tolist() == [220, 300, 320, 420]
    assert set(steps["step"]) == {1}  # nothing is before the first


def test_shares_of_a_step(written):
    shares = read_timeline(written(TWO_STEPS)).shares()
    assert shares.to_dict() == pytest.approx({"compute": 90 / 200, "wait": 10 / 200, "exchange": 100 / 200})


def test_bytes_are_those_of_the_gradients_as_they_are_sent(written):
    timeline = read_timeline(written(TWO_STEPS))
    assert timeline.tensors["bytes"].to_dict() == {1: 24, 2: 2}  # the barrier, tensor 7, is no gradient
    assert timeline.bytes_per_step == 26
    assert repr(timeline) == "<Timeline: 2 steps, 2 gradients, 26 bytes a step>"


def test_a_file_of_a_run_that_was_ended_is_read_as_far_as_it_goes(written):
    begun = [*TWO_STEPS, *reduction(1, (500, 510), 520, 600)[:5]]
    assert read_timeline(written(begun, end=",\n")).phases["step"].max() == 1


def test_with_horovods_cache_there_are_phases_but_no_moments_of_readiness(written):
    events = [e for e in TWO_STEPS if e["ph"] != "X"]
    timeline = read_timeline(written(events))
    assert timeline.steps().empty and timeline.bytes_per_step == 26


def test_a_recorded_file():
    timeline = read_timeline(RECORDED)
    assert timeline.phases["step"].nunique() == 3
    assert timeline.tensors["shape"].tolist() == [(64, 256), (256,)]
    assert timeline.bytes_per_step == 4 * (64 * 256 + 256)
    inner = {"MEMCPY_IN_FUSION_BUFFER", "GLOO_ALLREDUCE", "MEMCPY_OUT_FUSION_BUFFER"}
    assert set(timeline.phases["phase"]) == {"NEGOTIATE_ALLREDUCE", "ALLREDUCE", *inner}
    steps = timeline.steps()
    assert len(steps) == 4
    assert (steps["start_s"] < steps["ready_s"]).all() and (steps["all_ready_s"] < steps["end_s"]).all()


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", '[{"ph": "E", "ts": 1, "pid": 1}]', "[[]]"])
def test_what_is_no_timeline_is_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(StoreError, match=r"other.json' is no timeline of Horovod .*HOROVOD_TIMELINE"):
        read_timeline(path)


def test_a_file_that_is_not_there_or_empty_is_said(tmp_path, written):
    with pytest.raises(StoreError, match=r"cannot be read \(No such file or directory\)"):
        read_timeline(tmp_path / "none.json")
    with pytest.raises(StoreError, match="holds no all-reduce"):
        read_timeline(written([]))
