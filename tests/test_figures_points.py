"""Runs as points: where each is, what cannot be drawn and is said, and what a mark tells of its run."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from fake_records import fake_record, fake_sweep, fake_table
from figure_parts import SWEEP, axis_titles, marks, named

from dcbench import figures, store
from dcbench.errors import SpecError
from dcbench.figures.runs import axes

FAILED = [fake_record("horovod", 2, seed=k, status="failed") for k in (7, 8)]


def ids(trace):
    return trace.customdata.tolist()


def test_each_run_is_a_mark_at_its_numbers_and_carries_its_id():
    runs = [fake_record("mirrored", 2, seed=k) for k in range(3)] + [fake_record("mirrored", 4, seed=9)]
    (trace,) = named(figures.plot_runs(runs), "mirrored")
    assert trace.x.tolist() == [64, 64, 64, 128]
    assert trace.y.tolist() == [r.metrics["throughput"] for r in runs]
    assert ids(trace) == [r.run_id for r in runs]


def test_colours_are_of_backends_and_markers_of_models():
    figure = figures.plot_runs(fake_sweep(counts=(1, 2), models=("cnn", "mlp"), repeats=1))
    trace = named(figure, "horovod, mlp")[0]
    assert (trace.marker.color, trace.marker.symbol) == (figures.COLOURS["horovod"], figures.MARKERS["mlp"])
    names = [t.name for t in figure.data if t.showlegend is not False]
    assert names[:2] == ["single, cnn", "single, mlp"] and len(set(names)) == len(names) == 8


@pytest.mark.parametrize(
    ("x", "y", "titles"),
    [
        ("global_batch", "throughput", ["Global batch (examples a step)", "Throughput (examples/s), higher is better"]),
        ("devices", "step_s", ["Devices", "Median step time (s), lower is better"]),
        ("throughput", "peak_host_bytes", ["Throughput (examples/s)", "Peak host memory (GiB), lower is better"]),
    ],
)
def test_axes_have_units(x, y, titles):
    assert axis_titles(figures.plot_runs(SWEEP, x, y)) == titles


@pytest.mark.parametrize("name", ["model", "backend"])
def test_a_run_that_does_not_say_what_it_ran_is_drawn(name):
    foreign = fake_record("horovod", 2, seed=5)
    del foreign.spec[name]
    figure = figures.plot_runs([fake_record("horovod", 2), fake_record("mirrored", 2), foreign])
    (trace,) = [t for t in figure.data if t.customdata is not None and foreign.run_id in ids(t)]
    assert "unknown" in trace.name


def test_memory_is_in_gib():
    record = fake_record()
    record.metrics["peak_host_bytes"] = 3.0 * 2**30
    assert figures.plot_runs([record], y="peak_host_bytes").data[0].y.tolist() == [3.0]


def test_every_metric_and_every_number_of_a_specification_is_an_axis():
    numbers = {"devices", "batch_per_device", "global_batch", "learning_rate", "clipnorm"}
    assert {"throughput", "other_cores", *numbers} <= {*axes()}
    assert not {"model", "knobs", "evaluate", "optimizer"} & {*axes()}


def test_backends_at_one_value_stand_beside_each_other_and_the_ticks_at_the_values():
    figure = figures.plot_runs(SWEEP, x="devices", log_x=True)
    at = {t.name: sorted(set(t.x.round(6)))[-1] for t in figure.data if t.name != "chosen"}
    assert at["mirrored"] < at["horovod"] < at["independent"]
    assert all(abs(np.log2(x / 8)) < 0.25 for name, x in at.items() if name != "single")
    assert list(figure.layout.xaxis.tickvals) == [1, 2, 4, 8]
    assert "drawn beside each other" in figure.layout.title.subtitle.text
    alone = figures.plot_runs([r for r in SWEEP if r.spec["backend"] == "horovod"], x="devices")
    assert set(alone.data[0].x) == {1, 2, 4, 8}


def test_runs_that_were_not_completed_are_in_a_strip_at_their_place():
    figure = figures.plot_runs([fake_record("single", batch=64), *FAILED])
    strip = next(t for t in figure.data if t.yaxis == "y2")
    assert ids(strip) == [r.run_id for r in FAILED]
    assert strip.marker.symbol.endswith("-open") and strip.name == "horovod" and strip.showlegend
    assert list(figure.layout.yaxis2.ticktext) == ["not completed"]
    assert "yaxis2" not in figures.plot_runs([fake_record()]).layout


def test_the_newest_marks_are_drawn_where_there_are_too_many_and_the_caption_says_so():
    table = fake_table(figures.MAX_MARKS + 500)
    started = pd.date_range("2026-01-02", periods=len(table), freq="s", tz="UTC")[::-1]
    table = table.assign(run_id=[f"run-{k:05d}" for k in range(len(table))], started_utc=started)
    figure = figures.plot_runs(table)
    drawn = {run for t in figure.data if t.customdata is not None for run in t.customdata}
    assert marks(figure) == figures.MAX_MARKS
    assert drawn == set(table["run_id"][: figures.MAX_MARKS])
    assert "the newest 2,000 of 2,500 runs" in figure.layout.title.subtitle.text


def test_what_cannot_be_drawn_is_counted():
    lost = fake_record(seed=3)
    lost.metrics["final_loss"] = float("nan")
    none = fake_record(seed=4)
    none.metrics["final_loss"] = 0.0
    runs = [fake_record(), lost, none]
    under = figures.plot_runs(runs, y="final_loss", log_y=True).layout.title.subtitle.text
    assert "not drawn, without both numbers: 1" in under
    assert "not drawn, at or below 0 on a logarithmic axis: 1" in under
    linear = figures.plot_runs(runs, y="final_loss").layout.title.subtitle.text
    assert "at or below 0" not in linear


def test_log_axes():
    figure = figures.plot_runs([*SWEEP, *FAILED], log_x=True, log_y=True)
    assert {figure.layout[a].type for a in ("xaxis", "xaxis2", "yaxis")} == {"log"}
    assert figure.layout.yaxis2.type is None
    assert figures.plot_runs(SWEEP).layout.xaxis.type is None


@pytest.mark.parametrize("run", [SWEEP[5].run_id, FAILED[0].run_id])
def test_a_ring_is_around_the_chosen_run(run):
    figure = figures.plot_runs([*SWEEP, *FAILED], ringed=run)
    ring, mark = figure.data[-1], next(t for t in figure.data if t.customdata is not None and run in t.customdata)
    place = ids(mark).index(run)
    assert (ring.x.tolist(), ring.y.tolist()) == ([mark.x[place]], [mark.y[place]])
    assert (ring.yaxis, ring.hoverinfo) == (mark.yaxis, "skip")
    assert len(figures.plot_runs(SWEEP).data[-1].x) == 0


def test_nothing_to_draw_is_said():
    with pytest.raises(SpecError, match=r"runs have no number 'throughputt'; did you mean 'throughput'\?"):
        figures.plot_runs(SWEEP, y="throughputt")
    with pytest.raises(SpecError, match="no run has both global_batch and throughput to draw: 2 were not completed"):
        figures.plot_runs(FAILED)
    with pytest.raises(SpecError, match="no run has both global_batch and test_loss to draw"):
        figures.plot_runs(SWEEP, y="test_loss")


def test_text_of_records_is_no_markup():
    evil = dataclasses.replace(SWEEP[4], run_id="<b>x", spec=SWEEP[4].spec | {"model": "<img>", "backend": "<script>"})
    assert "<img" not in json.dumps(figures.plot_runs([evil, *SWEEP]).to_plotly_json(), default=str)
    assert "<b>x" not in str(figures.plot_runs([evil]).data[0].customdata)


def test_a_table_is_not_changed():
    table = store.tidy(SWEEP).set_index(pd.RangeIndex(9, 9 + len(SWEEP)))
    before = table.copy()
    figures.plot_runs(table)
    pd.testing.assert_frame_equal(table, before)
