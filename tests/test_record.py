"""Records: metrics with known answers for unequal ranks, curves with gaps, and damaged input."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from fake_records import fake_record

from dcbench import METRICS, Record, StoreError
from dcbench.record import Series, training_metrics


def series(phase: str, *ranks: list[float]) -> list[Series]:
    return [Series(r, "h", phase, 0, values) for r, values in enumerate(ranks)]


def test_throughput_counts_all_ranks_and_the_slowest_time() -> None:
    # rank 0 did 10 steps in 2 s, rank 1 did 6 in 5 s: 16 examples x 16 steps / 5 s
    rows = series("loss", [1.0] * 10, [1.0] * 6)
    assert training_metrics(rows, {0: 2.0, 1: 5.0}, 16, None)["throughput"] == pytest.approx(51.2)


def test_step_time_is_the_median_of_the_slowest_process() -> None:
    rows = series("step_s", [0.1, 0.1, 9.0], [0.3, 0.2, 0.2, 0.4])
    assert training_metrics(rows, {}, 1, None) == {"step_s": pytest.approx(0.25)}


def test_final_loss_is_the_mean_of_the_last_ten_over_ranks() -> None:
    rows = series("loss", [9.0] * 5 + [1.0] * 10, [9.0] * 5 + [3.0] * 10)
    assert training_metrics(rows, {}, 1, None)["final_loss"] == pytest.approx(2.0)


def test_flops_follow_from_throughput() -> None:
    found = training_metrics(series("loss", [1.0] * 4), {0: 2.0}, 8, 1000.0)
    assert found["model_flops_per_s"] == pytest.approx(16_000.0)


def test_a_rank_without_steps_gives_no_numbers_and_no_warning() -> None:
    assert training_metrics([*series("step_s", []), *series("loss", [])], {}, 8, None) == {}
    assert "step_s" in training_metrics(series("step_s", [0.5], []), {}, 8, None)


def make(samples: list[Series]) -> Record:
    return Record("r", {}, "h", samples=samples)


def test_curves_have_gaps_where_a_rank_stopped() -> None:
    record = make([*series("loss", [1.0, 2.0, 3.0], [3.0, 4.0]), *series("step_s", [0.1, 0.2], [0.3])])
    np.testing.assert_equal(record.rank_loss, [[1, 2, 3], [3, 4, np.nan]])
    np.testing.assert_equal(record.loss, [2, 3, np.nan])
    np.testing.assert_equal(record.step_s, [[0.1, 0.2], [0.3, np.nan]])


def test_curves_join_parts_and_listed_steps() -> None:
    record = make(
        [Series(0, "h", "loss", 0, [1.0]), Series(0, "h", "loss", 1, [2.0]), Series(0, "h", "loss", [3, 2], [4.0, 3.0])]
    )
    np.testing.assert_equal(record.loss, [1, 2, 3, 4])


def test_no_samples_are_empty_curves() -> None:
    assert make([]).loss.shape == (0,)
    assert make([]).step_s.shape == (0, 0)


def test_dictionary_and_back() -> None:
    record = fake_record("horovod", 2)
    record.samples.append(Series(1, "h", "loss", 40, [float("nan")]))
    text = json.dumps(record.to_dict(), allow_nan=False)
    again = Record.from_dict(json.loads(text))
    np.testing.assert_equal(again.rank_loss, record.rank_loss)
    assert json.dumps(again.to_dict()) == text
    assert "path" not in record.to_dict()


def test_a_record_with_few_late_samples_is_read() -> None:
    late = [Series(3, "h", "loss", 10**5, [1.0]), Series(0, "h", "test_accuracy", [10**7], [0.5])]
    again = Record.from_dict(dataclasses.replace(fake_record(), samples=late).to_dict())
    assert again.rank_loss.shape == (4, 10**5 + 1) and again.step_s.shape == (0, 0)


def test_every_metric_is_defined() -> None:
    for name, metric in METRICS.items():
        assert (metric.name, metric.better in ("higher", "lower", "none")) == (name, True)
        assert metric.unit and metric.label and metric.definition


def damaged(**changes: object) -> dict:
    return fake_record().to_dict() | changes


def without(name: str) -> dict:
    values = damaged()
    del values["spec"][name]
    return values


def within(part: str, **changes: object) -> dict:
    values = damaged()
    return values | {part: values[part] | changes}


DAMAGED = {
    "list": ([1], "not a dcbench record"),
    "foreign": ({"name": "x"}, "not a dcbench record"),
    "future": (damaged(schema=99), "has schema version 99; this dcbench reads version 1"),
    "status": (damaged(status="fine"), "has the status 'fine'"),
    "metric": (damaged(metrics={"speed": 1}), "unknown metric 'speed'"),
    "metrics": (damaged(metrics=[1]), "is damaged"),
    "number": (damaged(metrics={"throughput": "fast"}), "is damaged"),
    "samples": (damaged(samples=[{"rank": 0}]), "is damaged"),
    "steps": (damaged(samples=[{"rank": 0, "host": "h", "phase": "loss", "index": [0], "values": [1, 2]}]), "steps"),
    "far step": (damaged(samples=[{"rank": 0, "host": "h", "phase": "loss", "index": 1e12, "values": [1]}]), "damaged"),
    "far rank": (damaged(samples=[{"rank": 10**9, "host": "h", "phase": "loss", "index": 0, "values": [1]}]), "range"),
    "wide gaps": (
        damaged(samples=[{"rank": 2**16 - 1, "host": "h", "phase": "loss", "index": 10**8 - 1, "values": [1]}]),
        "1 samples of 'loss' cannot be those of 65536 ranks and 100000000 steps",
    ),
    "no model": (without("model"), "is damaged: its spec has no 'model'"),
    "no dataset": (without("dataset"), "its spec has no 'dataset'"),
    "no backend": (without("backend"), "its spec has no 'backend'"),
    "no devices": (within("spec", devices=None), "its spec has no 'devices'"),
    "model": (within("spec", model=["cnn"]), "its spec has a list as 'model'"),
    "devices": (within("spec", devices=True), "its spec has a bool as 'devices'"),
    "field": (within("spec", learning_rate="fast"), "its spec has a str as 'learning_rate'"),
    "cores": (within("machine", cores=5), "its machine has a int as 'cores'"),
    "machine": (within("machine", name={}), "its machine has a dict as 'name'"),
    "gpus": (within("machine", gpus=["x"]), "its GPUs are not all described"),
    "version": (within("versions", keras=3), "its versions has a int as 'keras'"),
    "place": (within("sweep", place="first"), "its sweep has a str as 'place'"),
    "flags": (damaged(flags=[1]), "its flags are not all text"),
    "no flags": (damaged(flags=None), "it has no 'flags'"),
    "workers": (damaged(workers=[3]), "its workers are not all described"),
    "reason": (damaged(reason={}), "its record has a dict as 'reason'"),
    "huge metric": (damaged(metrics={"throughput": 10**400}), "too large to convert to float"),
    "huge sample": (
        damaged(samples=[{"rank": 0, "host": "h", "phase": "loss", "index": 0, "values": [10**400]}]),
        "too large to convert to float",
    ),
    "huge part": (damaged(workers=[{"peak_host_bytes": 10**400}]), "too large to convert to float"),
    "no spec": ({k: v for k, v in damaged().items() if k != "spec"}, "is damaged"),
}


@pytest.mark.parametrize(("values", "said"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_is_one_sentence(values: object, said: str) -> None:
    with pytest.raises(StoreError) as caught:
        Record.from_dict(values)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_is_shown_in_one_line() -> None:
    spec = {"model": {"function": "mine", "source": "def mine(): ..."}, "backend": "horovod", "devices": 2}
    record = Record("a-run", spec, "0" * 16, "ok", metrics={"throughput": 12345.6})
    assert repr(record) == "<Record a-run: mine on horovod × 2, ok, 12,346 examples/s>"
    assert repr(Record("b", {}, "0" * 16, "failed", "rank 1 died")).endswith("failed (rank 1 died)>")


def test_a_time_of_zero_gives_no_rate() -> None:
    samples = [Series(0, "h", "loss", 0, [1.0]), Series(0, "h", "step_s", 0, [0.0])]
    for block_s in (0.0, 5e-324):
        assert set(training_metrics(samples, {0: block_s}, 32, 1e6)) == {"final_loss"}
