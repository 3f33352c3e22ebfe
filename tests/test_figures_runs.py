"""What is drawn of single configurations: throughput, step times, memory, time to target, comparisons."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from fake_records import CONFIGURATIONS, fake_record, fake_sweep
from figure_parts import STUDY, SWEEP, TARGETS, axis_titles, marks, named, of

from dcbench import comparison, figures, stats
from dcbench.errors import SpecError
from dcbench.figures._configurations import configured
from dcbench.figures.steps import MOST_OUTLIERS, MOST_RANKS
from dcbench.record import Series

DRAWN_FROM_A_SWEEP = (
    figures.plot_throughput,
    figures.plot_memory,
    figures.plot_step_times,
    figures.plot_time_to_target,
    figures.plot_scaling,
    figures.plot_scaling_law,
)


def test_throughput_shows_each_run_the_median_and_its_interval():
    figure = figures.plot_throughput(STUDY)
    runs, middle = named(figure, "horovod × 2")
    measured = [r.metrics["throughput"] for r in of(STUDY, "horovod", 2)]
    expected = stats.median_interval(measured)
    assert sorted(runs.x) == pytest.approx(sorted(measured), rel=1e-5)
    assert middle.x[0] == pytest.approx(expected.value)
    assert middle.x[0] + middle.error_x.array[0] == pytest.approx(expected.high)
    assert middle.x[0] - middle.error_x.arrayminus[0] == pytest.approx(expected.low)
    assert axis_titles(figure) == ["Throughput (examples/s), higher is better"]
    assert figure.layout.xaxis.range[0] == 0
    last, first = figure.layout.yaxis.range
    assert last > len(CONFIGURATIONS) - 1 and first < -0.7  # every row, and the number above the first
    assert len({trace.name for trace in figure.data}) == len(CONFIGURATIONS)


def test_a_sweeps_canaries_are_not_among_the_runs():
    runs, _ = named(figures.plot_throughput(SWEEP), "single × 1")
    assert len(runs.x) == 5
    assert 1000.0 not in runs.x


def test_models_have_panels_of_their_own():
    figure = figures.plot_throughput(fake_sweep(models=("cnn", "mlp"), counts=(1, 2)))
    assert [a.text for a in figure.layout.annotations] == ["cnn", "mlp"]
    runs = [t for t in named(figure, "horovod × 2") if t.mode == "markers"]
    assert [(t.yaxis, t.marker.symbol) for t in runs] == [("y", "circle-open"), ("y2", "square-open")]


def test_many_runs_are_drawn_by_their_quantiles():
    one = figures.tidy(fake_sweep(counts=(1,), repeats=1)[3:-3])
    table = pd.concat([one] * 500, ignore_index=True).assign(throughput=1000.0 + np.arange(2000) // 4)
    figure = figures.plot_throughput(table)
    assert marks(figure) < 20
    box = next(t for t in named(figure, "mirrored × 1") if t.type == "box")
    expected = [np.quantile(np.arange(1000.0, 1500), q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
    assert [box.lowerfence[0], box.q1[0], box.median[0], box.q3[0], box.upperfence[0]] == pytest.approx(expected)


def test_configurations_are_named_by_what_differs():
    runs = [
        fake_record("horovod", 2, transport="mpi"),
        fake_record("horovod", 2, transport="gloo"),
        fake_record("mirrored", 2, batch=64),
        fake_record("single", 1, threads_per_device=2),
    ]
    assert list(configured(figures.tidy(runs))["configuration"]) == [
        "single × 1, 2 cores a device, 32 a step",
        "horovod × 2, transport=mpi, 32 a device",
        "horovod × 2, transport=gloo, 32 a device",
        "mirrored × 2, 64 a device",
    ]


def test_different_work_is_never_one_row():
    """Each of these would be refused by `stats.scaling`, so no median may mix them."""
    changes = [
        {}, {"model_args": {"units": 64}}, {"dataset_args": {"units": 64}}, {"steps": None, "epochs": 2},
        {"accumulation": 2}, {"clipnorm": 1.0}, {"steps_per_execution": 5}, {"target_accuracy": 0.9},
    ]  # fmt: skip
    specs = [{k: json.dumps(v) if isinstance(v, dict) else v for k, v in change.items()} for change in changes]
    plain = figures.tidy([fake_record("horovod", 2)]).astype(object)
    table = pd.concat([plain.assign(**spec, run_id=str(k)) for k, spec in enumerate(specs)], ignore_index=True)
    names = configured(table).set_index("run_id")["configuration"]
    assert names.nunique() == len(specs)
    assert names["1"].startswith("horovod × 2, units=64, steps=40")
    assert "epochs=2" in names["3"] and "steps=40" not in names["3"]
    assert "target_accuracy=0.9" in names["7"] and "target_accuracy" not in names["0"]


def test_what_all_rows_share_or_miss_names_none():
    records = [fake_record("horovod", 2, transport="gloo"), fake_record("single", 1)]
    records[0].versions["horovod"] = "0.28.1"  # a run without Horovod has none
    table = figures.tidy(records).assign(model_args=['{"units": 8, "layers": 1}', '{"units": 8, "layers": 2}'])
    assert list(configured(table)["configuration"]) == ["single × 1, layers=2", "horovod × 2, layers=1"]
    two = figures.tidy([fake_record("horovod", 2), fake_record("horovod", 2)])
    versions = two.assign(tensorflow_version=["2.20.0", "2.21.0"])
    assert list(configured(versions)["configuration"]) == [
        f"horovod × 2, tensorflow_version=2.{minor}.0" for minor in (20, 21)
    ]


def test_names_that_came_out_the_same_are_numbered():
    table = figures.tidy([fake_record("horovod", 2)] * 2).assign(optimizer=["<adam", "&adam"])
    assert list(configured(table)["configuration"]) == ["horovod × 2 (1)", "horovod × 2 (2)"]  # as markup is dropped


@pytest.mark.parametrize("draw", DRAWN_FROM_A_SWEEP, ids=lambda d: d.__name__)
def test_canaries_tell_of_a_drift_and_of_nothing_else(draw):
    runs = fake_sweep(counts=(1, 2), drift=0.8, target_accuracy=0.9, steps=300)
    without = draw([r for r in runs if not r.sweep["canary"]])
    figure = draw(runs)
    assert "the machine drifted" in figure.layout.title.subtitle.text
    assert "drifted" not in without.layout.title.subtitle.text
    assert [t.to_plotly_json() for t in figure.data] == [t.to_plotly_json() for t in without.data]


def test_an_interval_that_ends_beyond_its_axis_is_said():
    said = "run out of sight"
    assert said not in figures.plot_throughput(STUDY).layout.title.subtitle.text
    wild = [fake_record("horovod", 2, seed=k) for k in range(3)]
    for record, speed in zip(wild, (100.0, 1000.0, 1100.0), strict=True):
        record.metrics["throughput"] = speed
    assert said in figures.plot_throughput(wild).layout.title.subtitle.text


def test_of_several_batches_each_is_named_and_a_lone_larger_base_names_itself():
    one, two = fake_sweep(counts=(1, 2), batches=(32,)), fake_sweep(counts=(1, 2), batches=(32, 64))
    named_one = set(configured(figures.tidy([*one, fake_record(batch=64)]))["configuration"])
    assert {"single × 1", "horovod × 2", "single × 1, 64 a step"} <= named_one
    named_two = set(configured(figures.tidy(two))["configuration"])
    assert {"single × 1, 32 a step", "horovod × 2, 32 a device", "horovod × 2, 64 a device"} <= named_two


def test_failed_runs_are_left_out_and_none_at_all_is_said():
    failed = [fake_record("horovod", 2, seed=k, status="failed") for k in range(3)]
    without = [r for r in STUDY if r.spec["backend"] != "horovod"]
    assert not named(figures.plot_throughput([*without, *failed]), "horovod × 2")
    with pytest.raises(SpecError, match="none of the runs was completed"):
        figures.plot_throughput(failed)
    with pytest.raises(SpecError, match="no completed run tells its peak memory"):
        figures.plot_memory(failed)
    with pytest.raises(SpecError, match="no completed run has step times"):
        figures.plot_step_times(failed)


def test_one_run_of_each_is_drawn_without_interval():
    once = STUDY[: len(CONFIGURATIONS)]
    assert named(figures.plot_throughput(once), "horovod × 2")[1].error_x.array[0] == 0


def with_steps(seed, *ranks):
    """Return a run of horovod with given step times (s), a list for each rank."""
    record = fake_record("horovod", len(ranks) if len(ranks) in (2, 4, 8) else 8, seed=seed)
    samples = [Series(rank, "node-1", "step_s", 0, list(values)) for rank, values in enumerate(ranks)]
    return dataclasses.replace(record, samples=samples, run_id=f"{record.run_id}-{seed}")


def test_step_times_are_quartiles_over_all_runs_by_rank():
    first = with_steps(0, [0.001, 0.002, 0.003], [0.004, 0.004, 0.004])
    second = with_steps(1, [0.004, 0.005, 0.100], [0.004, 0.004, 0.004])
    figure = figures.plot_step_times([first, second])
    quick, slow = (next(t for t in named(figure, f"horovod × 2 · rank {k}") if t.type == "box") for k in (0, 1))
    # of 1, 2, 3, 4, 5 and 100 ms the quartiles are 2.25, 3.5 and 4.75, and 100 lies beyond 4.75 + 1.5 × 2.5
    assert [quick.lowerfence[0], quick.q1[0], quick.median[0], quick.q3[0], quick.upperfence[0]] == [
        1,
        2.25,
        3.5,
        4.75,
        5,
    ]
    (beyond,) = [t for t in named(figure, quick.name) if t.type == "scatter"]
    assert list(beyond.x) == [100]
    assert slow.fillcolor.endswith("0.6)") and quick.fillcolor.endswith("0.1)")  # the slowest rank stands out
    assert axis_titles(figure) == ["Step time (ms)"]
    assert figure.layout.xaxis.type == "log"  # for the step of 100 ms


def test_of_many_ranks_and_outliers_the_extremes_are_drawn():
    random = np.random.default_rng(0)
    ranks = [0.01 * (1 + 0.01 * (k == 13) - 0.01 * (k == 7)) + 1e-6 * random.standard_cauchy(400) for k in range(40)]
    figure = figures.plot_step_times([with_steps(0, *ranks)])
    boxes = [t for t in figure.data if t.type == "box"]
    assert len(boxes) == MOST_RANKS
    assert {"horovod × 8 · rank 13", "horovod × 8 · rank 7"} <= {b.name for b in boxes}
    assert max(len(t.x) for t in figure.data if t.type == "scatter") == MOST_OUTLIERS
    assert "32 further ranks" in figure.layout.title.subtitle.text


def test_memory_has_its_median_and_range_in_gib():
    records = [fake_record("horovod", 2, seed=k) for k in range(3)]
    for record, gib in zip(records, (1.0, 3.0, 2.0), strict=True):
        record.metrics["peak_host_bytes"] = gib * 2**30
    (bar,) = figures.plot_memory(records).data
    assert (bar.x, bar.error_x.array, bar.error_x.arrayminus) == ((2.0,), (1.0,), (1.0,))
    assert axis_titles(figures.plot_memory(records)) == ["Peak host memory (GiB), lower is better"]
    records[0].metrics["peak_device_bytes"] = 2.0**31
    assert axis_titles(figures.plot_memory(records))[1] == "Peak device memory (GiB), lower is better"


def test_time_to_target_tells_the_time_and_who_never_got_there():
    figure = figures.plot_time_to_target(TARGETS)
    (reached,) = named(figure, "horovod × 2, 64 a step")
    times = [r.metrics["time_to_target_s"] for r in of(TARGETS, "horovod", 2)]
    expected = stats.median_interval(times)
    assert reached.x[0] == pytest.approx(expected.value)
    assert reached.x[0] + reached.error_x.array[0] == pytest.approx(expected.high)
    (never,) = named(figure, "single × 1, 32 a step")
    assert never.text[0].strip() == "not reached in 300 steps, 5 runs"
    assert figure.layout.title.text.startswith("Time to 90 % test accuracy")
    del of(TARGETS, "horovod", 4)[0].metrics["time_to_target_s"]
    (some,) = named(figures.plot_time_to_target(TARGETS), "horovod × 4, 128 a step")
    assert some.text[0].endswith("reached by 4 of 5 runs")
    with pytest.raises(SpecError, match="target_accuracy"):
        figures.plot_time_to_target(SWEEP)


def test_comparison_shows_both_sides_and_their_ratio():
    found = comparison.compare(of(SWEEP, "mirrored", 2), of(SWEEP, "horovod", 2))
    figure = figures.plot_comparison(found)
    values, middle = named(figure, "horovod × 2")
    assert sorted(values.x) == pytest.approx(sorted(found.b_values), rel=1e-5)
    assert middle.x[0] == pytest.approx(found.b.value)
    (ratio,) = named(figure, "ratio")
    assert ratio.x[0] == pytest.approx(found.ratio.value)
    assert ratio.x[0] - ratio.error_x.arrayminus[0] == pytest.approx(found.ratio.low)
    (label,) = figure.layout.annotations  # in the middle of its panel, where no edge cuts it
    assert (label.text, label.x, label.xref) == (f"{found.ratio:.2f}", 0.5, "x2 domain")
    assert figure.layout.title.text == "Throughput of horovod × 2 against mirrored × 2: faster"
    assert axis_titles(figure) == ["Throughput (examples/s), higher is better", "Ratio, second to first"]


def test_sides_of_one_name_are_told_apart():
    found = comparison.compare(of(SWEEP, "mirrored", 2), of(SWEEP, "horovod", 2))
    figure = figures.plot_comparison(dataclasses.replace(found, label_a="/a/net.py:build", label_b="/b/net.py:build"))
    assert figure.layout.title.text == "Throughput of net.py:build (b) against net.py:build (a): faster"
    assert [len(named(figure, f"net.py:build ({side})")) for side in "ab"] == [2, 2]


def test_unlike_machines_are_named_in_the_title_of_a_comparison():
    there = [dataclasses.replace(r, machine=r.machine | {"name": "3 × Other cores"}) for r in of(SWEEP, "horovod", 2)]
    found = comparison.compare(of(SWEEP, "mirrored", 2), there, allow_unlike=True)
    title = figures.plot_comparison(found).layout.title.text.replace("<br>", " ")
    assert "UNLIKE MACHINES" in title and "3 × Other cores" in title
