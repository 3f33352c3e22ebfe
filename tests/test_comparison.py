"""Two configurations are compared with an interval, a verdict, and everything that differs; known answers by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from fake_records import MACHINE, fake_record

from dcbench import compare, store
from dcbench.comparison.conditions import differs, labels
from dcbench.errors import SpecError
from dcbench.metrics import METRICS
from dcbench.stats import NO_DIFFERENCE

NUMBERS = itertools.count()


def made(values, backend="single", devices=1, metric="throughput", sweep="s", machine=None, **fields):
    """Make one record a value, in the rounds of a sweep (None: lone runs)."""
    records = []
    for k, value in enumerate(values):
        base = fake_record(backend, devices, status="ok" if value else "failed", **fields)
        records.append(dataclasses.replace(
            base, run_id=f"run-{next(NUMBERS)}", machine=MACHINE | (machine or {}),
            metrics={metric: value} if value else {}, samples=[],
            sweep={"id": sweep, "round": k, "canary": False} if sweep else {},
        ))  # fmt: skip
    return records


def rows(comparison):
    return {what: (a, b) for what, a, b in comparison.differs.itertuples(index=False)}


def test_rounds_of_one_sweep_are_paired_and_the_answer_is_the_hand_computed_one():
    # log ratios 0, 0.1, 0.2: mean 0.1, deviation 0.1, t(0.975, 2) = 4.302653; the drift of both cancels
    drift = np.array([1.0, 2.0, 4.0])
    a, b = made(100 * drift, "mirrored", 2), made(100 * drift * np.exp([0.0, 0.1, 0.2]), "horovod", 2)
    found = compare(a, b[::-1])
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found.paired and found.ratio.count == 3
    assert found.ratio.value == pytest.approx(math.exp(0.1))
    assert (found.ratio.low, found.ratio.high) == pytest.approx((math.exp(0.1 - half), math.exp(0.1 + half)), rel=1e-6)
    assert found.a_values.tolist() == [100.0, 200.0, 400.0]
    assert found.b_values / found.a_values == pytest.approx(np.exp([0.0, 0.1, 0.2]))
    assert (found.label_a, found.label_b, found.verdict) == ("mirrored × 2", "horovod × 2", NO_DIFFERENCE)


def test_runs_of_different_sweeps_are_not_paired_and_the_interval_is_welchs():
    # logs 0, 0.1, 0.2 and 1, 1.1, 1.2: difference 1, standard error sqrt(2 * 0.01 / 3); t(0.975, 4) = 2.776445
    a, b = made(np.exp([0.0, 0.1, 0.2]), sweep="s"), made(np.exp([1.2, 1.0, 1.1]), "horovod", 2, sweep="other")
    found = compare(a, b)
    half = 2.776445 * math.sqrt(2 * 0.01 / 3)
    assert not found.paired
    assert math.log(found.ratio.low) == pytest.approx(1 - half, rel=1e-5)
    assert math.log(found.ratio.high) == pytest.approx(1 + half, rel=1e-5)
    assert found.verdict == "faster"
    assert found.sentence.startswith("Throughput of horovod × 2 is 2.72× [2.17, 3.41]")
    assert found.sentence.endswith("that of single × 1: faster (3 + 3 runs, not paired)")


@pytest.mark.parametrize(("shared", "paired"), [(2, False), (3, True)])
def test_rounds_are_paired_where_most_are_shared(shared, paired):
    a, b = made([100, 101, 103, 102, None, None]), made([150, 160, 155, 151, 149, 152], "horovod", 2)
    b = [*b[4 - shared : 4], *b[4 : 8 - shared]]  # four runs, of which `shared` are in rounds of a
    found = compare(a, b)
    assert found.paired == paired
    assert found.ratio.count == (3 if paired else 4)
    assert len(found.a_values) == len(found.b_values) == found.ratio.count


def test_a_side_of_few_runs_does_not_leave_out_most_of_the_other():
    found = compare(made([100, 101]), made([150, 160, 155, 151], "horovod", 2))
    assert not found.paired and (found.a.count, found.b.count) == (2, 4)


def test_a_table_gives_the_same_answer_as_its_records():
    a, b = made([100, 101, 103]), made([150, 160, 155], "horovod", 2)
    table = store.tidy([*a, *b])
    from_table = compare(table[table["backend"] == "single"], table[table["backend"] == "horovod"])
    assert from_table.ratio == compare(a, b).ratio
    assert from_table.sentence == compare(a, b).sentence
    assert {"backend", "devices"} <= set(from_table.differs["what"])


@pytest.mark.parametrize(("metric", "higher", "lower"), [
    ("throughput", "faster", "slower"), ("step_s", "slower", "faster"), ("first_step_s", "slower", "faster"),
    ("peak_host_bytes", "uses more memory", "uses less memory"), ("test_accuracy", "better", "worse"),
    ("final_loss", "worse", "better"), ("warmup_steps", "higher", "lower"), ("model_flops_per_s", "faster", "slower"),
])  # fmt: skip
def test_the_verdict_follows_the_metrics_direction(metric, higher, lower):
    few, many = [0.1, 0.101, 0.102], [0.2, 0.205, 0.203]
    assert compare(made(few, metric=metric), made(many, "horovod", 2, metric=metric), metric).verdict == higher
    assert compare(made(many, metric=metric), made(few, "horovod", 2, metric=metric), metric).verdict == lower


def test_every_metric_has_words():
    for name in METRICS:
        assert compare(made([1, 1.1], metric=name), made([4, 4.1], "horovod", 2, metric=name), name).verdict


def test_one_run_has_no_interval_and_shows_nothing():
    for b in (made([150], "horovod", 2), made([150, 151, 152], "horovod", 2), made([150], "horovod", 2, sweep=None)):
        found = compare(made([100])[0], b)
        assert not found.ratio.has_interval and found.verdict == NO_DIFFERENCE
        assert found.ratio.value == pytest.approx(1.5, rel=0.02)
        assert "no difference shown, one run has no interval (1 +" in found.sentence
        assert any("fewer than 5 carry no claim" in note for note in found.notes)


def test_failed_runs_and_canaries_are_left_out_counted_and_named():
    a, b = made([100, None, 102, 101]), made([150, 160, 155, None], "horovod", 2)
    canary = dataclasses.replace(a[0], run_id="canary", sweep={"id": "s", "round": 0, "canary": True})
    found = compare([canary, *a], b)
    assert found.ratio.count == 2 and found.a_values.tolist() == [100.0, 102.0]
    assert "single × 1: 1 canary run left out" in found.notes
    assert f"single × 1: 1 run left out: {a[1].run_id} (failed: rank 1 was ended by SIGKILL)" in found.notes
    assert "2 runs left out: the other side completed no run in that round" in found.notes
    assert list(found.runs["run_id"]) == [a[0].run_id, a[2].run_id, b[0].run_id, b[2].run_id]


def test_seeds_of_one_round_are_paired_with_each_other():
    a = [r for s in (1, 0) for r in made([100 * (1 + s)] * 2, seed=7 + s)]
    b = [r for s in (0, 1) for r in made([150 * (1 + s)] * 2, "mirrored", 2, seed=7 + s)]
    for side in (a, b):
        for record in side:
            record.spec["seed"] = 7 + (record.metrics["throughput"] > 150)
    found = compare(a, b)
    assert found.ratio.count == 4 and (found.b_values / found.a_values).tolist() == [1.5] * 4


def test_differences_are_sorted_by_spec_versions_machine_and_flags():
    small = {"load_1min": 0.5, "memory_bytes": 8e9, "environment": {"OMP_NUM_THREADS": "1"}}
    large = {"load_1min": 1.25, "memory_bytes": 16e9, "environment": {"NCCL_A": "x"}}
    a, b = made([100, 101], machine=small), made([150, 151], "horovod", 2, machine=large)
    for record in b:
        record.versions, record.flags = {"tensorflow": "2.20.0", "keras": "3.15.1"}, ["warm-up reached its cap"]
    found = rows(compare(a, b))
    order = ["backend", "devices", "tensorflow", "memory (GB)", "load (1 min)", "OMP_NUM_THREADS", "NCCL_A", "flags"]
    assert list(found) == order
    assert found["backend"] == ("single", "horovod") and found["devices"] == ("1", "2")
    assert found["memory (GB)"] == ("8.0", "16.0") and found["load (1 min)"] == ("0.5", "1.2")
    assert found["OMP_NUM_THREADS"] == ("1", "not set") and found["NCCL_A"] == ("not set", "x")
    assert found["flags"] == ("-", "warm-up reached its cap")


def test_flags_that_differ_in_their_numbers_alone_are_the_same():
    a, b = made([100, 101]), made([150, 151], "horovod", 2)
    a[0].flags, a[1].flags = ["others used 0.6 of 2 cores"], ["others used 1.21 of 2 cores"]
    b[0].flags = ["others used 0.9 of 2 cores", "waited 3 s"]
    assert rows(compare(a, b))["flags"] == ("others used … of … cores", "others used … of … cores; waited … s")
    b[0].flags.pop()
    assert "flags" not in rows(compare(a, b))


def test_values_of_a_record_and_of_a_table_are_written_alike():
    record = made([100], "horovod", 2)[0]
    table = store.tidy([record, fake_record()])
    table = table.astype(dict.fromkeys(("steps", "batch_per_device", "time_limit_s"), float))
    found = rows(compare(table[1:], made([150], "horovod", 2, batch=64)))
    assert found["batch_per_device"] == ("32", "64") and "steps" not in found and "time_limit_s" not in found


@pytest.mark.parametrize("fact", [{"name": "4 × Other cores"}, {"host": "node-2"}, {"cores": [0, 1, 2]}])
def test_unlike_machines_are_refused_unless_asked_for_and_then_named(fact):
    two = {"cores": [0, 1]}
    a, b = made([100, 101], machine=two), made([150, 151], "horovod", 2, machine=two | fact)
    with pytest.raises(SpecError, match=r"a ran on '2 × Example CPU cores' \(host node-1\) and b on .*allow_unlike"):
        compare(a, b)
    found = compare(a, b, allow_unlike=True)
    [said] = found.unlike
    assert " / " in said and found.sentence.endswith("; unlike machines)")
    assert {"name": "machine", "host": "host", "cores": "cores"}[next(iter(fact))] in rows(found)


def test_the_kind_of_device_makes_machines_unlike():
    a, b = made([100, 101]), made([150, 151])
    for side, kind in ((a, "cpu"), (b, "gpu")):
        for record in side:
            record.placement = {"device_type": kind}
    with pytest.raises(SpecError, match="device type: cpu / gpu"):
        compare(a, b)


def test_other_models_and_data_may_be_compared_and_are_noted():
    found = compare(made([100, 101], model="cnn"), made([150, 151], model="mlp", dataset="synthetic"))
    assert (found.label_a, found.label_b) == ("cnn, single × 1", "mlp, single × 1")
    assert "different models, cnn and mlp: an example is not the same work" in found.notes
    assert "different datasets, digits and synthetic: an example is not the same work" in found.notes
    assert rows(found)["model"] == ("cnn", "mlp")


@pytest.mark.parametrize(("a", "b", "expected"), [
    ({}, {"batch": 64}, ("single × 1, batch_per_device=32", "single × 1, batch_per_device=64")),
    ({}, {}, ("single × 1 (a)", "single × 1 (b)")),
])  # fmt: skip
def test_labels_tell_the_sides_apart(a, b, expected):
    found = compare(made([100, 101], **a), made([150, 151], **b))
    assert (found.label_a, found.label_b) == expected


def test_a_label_names_the_version_where_nothing_else_differs():
    one = {"spec": {"backend": "single", "devices": "1"}, "versions": {"tensorflow": "2.21"}, "machine": {"load": "1"}}
    other = one | {"versions": {"tensorflow": "2.20"}, "machine": {"load": "2"}}
    assert labels(one, other) == ("single × 1, tensorflow=2.21", "single × 1, tensorflow=2.20")
    assert differs(one, other).values.tolist() == [["tensorflow", "2.21", "2.20"], ["load", "1", "2"]]


def _edited(name):
    [record] = made([100])
    record.spec["model"] = {"function": "mine", "sha256": name}
    record.spec_hash = name
    return record


RIGHT = [100, 101]
BAD = {
    "no runs": (lambda: compare([], made(RIGHT)), "a holds no runs; give at least one"),
    "an id": (lambda: compare("20260102T030405-1", made(RIGHT)), "a holds a str; give a Record"),
    "a list of ids": (lambda: compare(made(RIGHT), ["x"]), "b holds a str; give a Record"),
    "a foreign table": (lambda: compare(pd.DataFrame({"x": [1]}), made(RIGHT)), "without the column 'status'"),
    "unknown metric": (lambda: compare(made(RIGHT), made(RIGHT), "troughput"), "did you mean 'throughput'"),
    "several configurations": (
        lambda: compare(made(RIGHT) + made(RIGHT, "horovod", 2), made(RIGHT)),
        r"a holds runs of several configurations, which differ in backend \(single, horovod\) and devices \(1, 2\);",
    ),
    "several sources": (
        lambda: compare([_edited("a"), _edited("b")], made(RIGHT)), "which differ in the source of a function",
    ),
    "several machines": (
        lambda: compare(made(RIGHT) + made(RIGHT, machine={"host": "node-2"}), made(RIGHT)),
        r"a holds runs of several machines, which differ in host \(node-1, node-2\)",
    ),
    "all failed": (
        lambda: compare(made(RIGHT), made([None, None], "horovod", 2)),
        r"b has no completed run with 'throughput' \(2 runs left out: .*SIGKILL",
    ),
    "a metric that no run has": (
        lambda: compare(made(RIGHT), made(RIGHT, "horovod", 2), "time_to_target_s"),
        r"a has no completed run with 'time_to_target_s' \(2 runs left out: run-\d+ \(no time_to_target_s\)",
    ),
    "a run against itself": (lambda: (lambda r: compare(r, r))(made(RIGHT)), "is on both sides"),
    "not a positive number": (
        lambda: compare(made([1], metric="final_loss"), made([-1], "horovod", 2, metric="final_loss"), "final_loss"),
        "b has a run whose final_loss is not above 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence(call, said):
    with pytest.raises(SpecError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_an_edited_function_of_one_name_differs_in_its_source():
    found = rows(compare(_edited("0123456789abcdef"), _edited("fedcba9876543210")))
    assert found == {"source of the model": ("0123456789ab", "fedcba987654")}


def test_it_shows_in_one_line():
    shown = repr(compare(made(RIGHT), made([150, 151], "horovod", 2)))
    assert shown.startswith("<Comparison: Throughput of horovod × 2 is 1.5") and "\n" not in shown
