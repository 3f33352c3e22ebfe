"""The comparer: two lists of configurations, the verdict, the figure, what differs, and sentences instead."""

import dataclasses
import html

import ipywidgets
import pytest
from fake_records import SWEEP, fake_record, fake_sweep
from widget_parts import controls, every

from dcbench import comparison, figures, store, widgets
from dcbench.errors import SpecError

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def records():
    return fake_sweep(counts=(1, 2), batches=(32, 64), repeats=5)


@pytest.fixture
def comparer(records):
    return widgets.compare_runs(records)


def words(comparer):
    return [w.value for w in every(comparer) if type(w).__name__ == "HTML"]


def of(records, backend, devices, batch):
    wanted = (backend, devices, batch)
    return [
        r
        for r in records
        if not r.sweep["canary"] and (r.spec["backend"], r.spec["devices"], r.spec["batch_per_device"]) == wanted
    ]


def test_both_lists_hold_the_configurations_with_their_runs(comparer, records):
    offered = [text for text, _ in controls(comparer)["a"].options]
    assert offered == [text for text, _ in controls(comparer)["b"].options]
    assert len(offered) == 14 and len(set(offered)) == 14
    assert "horovod × 2, 64 a device (5 runs)" in offered  # the canaries are not counted
    assert sum(text.startswith("single × 1, 32") for text in offered) == 1


def test_it_begins_with_two_backends_alike_in_all_else(comparer):
    assert (comparer.a, comparer.b) == ("mirrored × 2, 32 a device", "horovod × 2, 32 a device")


def test_a_sweep_of_one_configuration_is_not_where_it_begins(records):
    lone = dataclasses.replace(fake_record(), run_id="alone", sweep=records[-1].sweep | {"id": "new", "canary": False})
    comparer = widgets.compare_runs([*records, lone])
    assert (comparer.a_sweep, comparer.b_sweep, comparer.sentence) == (SWEEP, SWEEP, "")
    assert widgets.compare_runs([lone]).sentence.startswith("a and b are the same configuration")


def test_the_verdict_comes_first_and_the_figure_is_that_of_the_comparison(comparer, records):
    comparer.a, comparer.b, comparer.metric = "mirrored × 2, 64 a device", "independent × 2, 64 a device", "step_s"
    expected = comparison.compare(of(records, "mirrored", 2, 64), of(records, "independent", 2, 64), "step_s")
    assert comparer.comparison.sentence == expected.sentence
    verdict, differs = words(comparer)
    assert html.escape(expected.sentence) in verdict and "font-size" in verdict
    drawn = figures.plot_comparison(expected)
    assert comparer.figure.layout.title.text == drawn.layout.title.text
    assert [list(t.x) for t in comparer.figure.data] == [list(t.x) for t in drawn.data]
    assert "<td>mirrored</td><td>independent</td>" in differs
    order = [w for w in every(comparer) if w is comparer._place or (type(w).__name__ == "HTML")]
    assert [type(w).__name__ for w in order] == ["HTML", "Output", "HTML"]


def test_controls_set_traits_and_follow_them(comparer):
    controls(comparer)["b"].index = 0
    assert comparer.b == "single × 1, 32 a device"
    comparer.a = "independent × 1, 32 a device"
    assert controls(comparer)["a"].label == "independent × 1, 32 a device (5 runs)"
    metrics = [text for text, _ in controls(comparer)["metric"].options]
    assert "Median step time (s)" in metrics and "Test accuracy" not in metrics
    controls(comparer)["metric"].index = metrics.index("Median step time (s)")
    assert comparer.comparison.metric == "step_s"


def test_changes_leave_no_widgets_behind(comparer):
    before = len(ipywidgets.widgets.widget._instances)
    for metric in ("step_s", "throughput"):
        comparer.metric = metric
    comparer.b = comparer.a
    assert len(ipywidgets.widgets.widget._instances) == before


@pytest.mark.parametrize("name", ["model", "backend"])
def test_a_record_that_does_not_say_what_it_ran_hinders_no_comparison(records, tmp_path, name):
    foreign = dataclasses.replace(fake_record(), run_id="foreign")
    foreign.spec = {n: v for n, v in foreign.spec.items() if n != name}
    lone = widgets.compare_runs([fake_record("horovod", 2), foreign, fake_record("mirrored", 2)])
    assert any("unknown" in text for text, _ in controls(lone)["a"].options)
    for record in [*records, foreign]:
        (tmp_path / record.run_id).mkdir()
        store.write(record, tmp_path / record.run_id)
    (tmp_path / "index.jsonl").unlink()
    stored = widgets.compare_runs(root=tmp_path)
    assert stored.sentence == "" and f"has no {html.escape(repr(name))}" in words(stored)[-1]


def test_the_same_side_twice_is_said(comparer):
    comparer.b = comparer.a
    assert comparer.comparison is None and comparer.figure is None
    assert comparer.sentence == "a and b are the same configuration; choose another for one of them"
    assert words(comparer) == ["", ""]
    comparer.b = "nothing"
    assert "b='nothing' is not a configuration here" in comparer.sentence


def test_a_side_without_a_completed_run_is_said(records):
    ended = {"status": "failed", "metrics": {}, "reason": "no memory"}
    lost = of(records, "horovod", 2, 32)
    failed = [dataclasses.replace(r, **ended) if r in lost else r for r in records]
    comparer = widgets.compare_runs(failed)
    assert (comparer.a, comparer.b) == ("mirrored × 2, 32 a device", "independent × 2, 32 a device")
    comparer.b = "horovod × 2, 32 a device"
    assert controls(comparer)["b"].label == "horovod × 2, 32 a device (5 runs, 5 not completed)"
    assert comparer.sentence.startswith("b has no completed run with 'throughput' (5 runs left out")


def test_unlike_machines_need_the_tick():
    here = [fake_record("horovod", 2, seed=k) for k in range(3)]
    there = [
        dataclasses.replace(r, run_id=f"{r.run_id}x", machine=r.machine | {"name": "9 × Other CPU cores"}) for r in here
    ]
    comparer = widgets.compare_runs([*here, *there])
    assert comparer.a == "horovod × 2, 2 × Example CPU cores" and comparer.b == "horovod × 2, 9 × Other CPU cores"
    assert "which are unlike machines" in comparer.sentence
    controls(comparer)["allow unlike machines"].value = True
    assert comparer.sentence == "" and "UNLIKE MACHINES" in comparer.figure.layout.title.text
    assert "9 × Other CPU cores" in words(comparer)[1]


def test_sweeps_are_compared_where_there_are_several(records):
    later = [
        dataclasses.replace(r, run_id=f"{r.run_id}-2", sweep=r.sweep | {"id": "later"}, metrics={
            n: v * (2 if n == "throughput" else 1) for n, v in r.metrics.items()
        })
        for r in records
    ]  # fmt: skip
    comparer = widgets.compare_runs([*records, *later])
    assert (comparer.a_sweep, comparer.b_sweep) == ("later", "later")
    comparer.a_sweep, comparer.b = SWEEP, comparer.a
    assert comparer.comparison.ratio.value == pytest.approx(2)
    assert [text for text, _ in controls(comparer)["sweep of a"].options] == ["later", SWEEP]


def test_of_values_that_differ_as_few_as_needed_are_in_a_name():
    runs = [
        fake_record("single", learning_rate=rate, target_accuracy=target, evaluate=target is None, seed=k)
        for rate, target in ((0.1, None), (0.1, 0.9), (0.2, None))
        for k in range(2)
    ]
    runs = [dataclasses.replace(r, run_id=f"run-{k}") for k, r in enumerate(runs)]
    names = [text for text, _ in controls(widgets.compare_runs(runs))["a"].options]
    assert names == [
        "single × 1, learning_rate=0.1 (2 runs)",
        "single × 1, target_accuracy=0.9, learning_rate=0.1 (2 runs)",
        "single × 1, learning_rate=0.2 (2 runs)",
    ]


def test_a_table_will_do(records):
    assert widgets.compare_runs(store.tidy(records)).comparison.verdict == "faster"


def test_text_from_records_never_becomes_markup(records):
    spec = {"dataset": EVIL, "optimizer": EVIL}
    evil = [
        dataclasses.replace(r, spec=r.spec | spec, versions={"tensorflow": EVIL}, flags=[EVIL])
        for r in of(records, "horovod", 2, 32)
    ]
    comparer = widgets.compare_runs([*of(records, "mirrored", 2, 32), *evil])
    assert html.escape(EVIL) in "".join(words(comparer)) and "<img" not in "".join(words(comparer))
    assert not [w for w in every(comparer) if getattr(w, "description_allow_html", False)]


def test_no_runs_are_refused():
    with pytest.raises(SpecError, match="compare_runs needs runs, and there are none"):
        widgets.compare_runs([])
