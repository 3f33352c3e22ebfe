"""What the figures show: the right numbers, units, uncertainty, and the machine."""

import json

import numpy as np
import plotly.io
import pytest
from fake_records import CONFIGURATIONS, MACHINE, fake_record, fake_study

from dcbench import figures, stats
from dcbench.errors import SpecError


@pytest.fixture(scope="module")
def study():
    return fake_study()


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def axis_titles(figure):
    layout = figure.to_dict()["layout"]
    return [layout[a]["title"]["text"] for a in sorted(layout) if "axis" in a and "title" in layout[a]]


@pytest.fixture(scope="module", params=["loss", "throughput", "scaling"])
def any_figure(request, study):
    return {
        "loss": lambda: figures.plot_loss(study, 64),
        "throughput": lambda: figures.plot_throughput(study),
        "scaling": lambda: figures.plot_scaling(study),
    }[request.param]()


def test_every_figure_names_the_machine_and_what_cpu_cores_cannot_show(any_figure):
    caption = any_figure.layout.title.subtitle.text
    assert MACHINE["name"] in caption
    assert "TensorFlow 2.21.0" in caption
    assert "not a data centre" in caption


def test_every_figure_is_light_small_and_offers_no_upload(any_figure, monkeypatch):
    monkeypatch.setattr(plotly.io.renderers, "default", "plotly_mimetype")  # what a notebook uses
    bundle = any_figure._repr_mimebundle_()
    assert bundle["application/vnd.plotly.v1+json"]["config"]["showSendToCloud"] is False
    assert any_figure.layout.template.layout.plot_bgcolor == "#FFFFFF"
    assert len(json.dumps(any_figure.to_plotly_json(), default=list)) < 60_000


def test_a_gpu_machine_carries_no_note_about_cpu_cores():
    record = fake_record()
    record.machine = {"name": "4 × NVIDIA H100"}
    assert "data centre" not in figures.caption([record])


def test_cpu_cores_of_a_gpu_machine_carry_that_note():
    record = fake_record()
    record.machine = {"name": "4 × NVIDIA H100"}
    record.spec["device_type"] = "cpu"
    assert "data centre" in figures.caption([record])


def test_machine_names_cannot_carry_markup():
    record = fake_record()
    record.machine = {"name": '<a href="javascript:x">cores</a>'}
    assert "<a" not in figures.caption([record])


def test_throughput_shows_each_run_the_median_and_its_interval(study):
    figure = figures.plot_throughput(study)
    runs, middle = named(figure, "horovod × 2")
    measured = [
        r.metrics["throughput"] for r in study if (r.spec["backend"], r.spec["devices"]) == ("horovod", 2)
    ]
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


def test_a_backend_has_one_colour_everywhere(study):
    throughput, scaling = figures.plot_throughput(study), figures.plot_scaling(study)
    for backend in ("mirrored", "horovod"):
        seen = {t.marker.color for t in throughput.data if t.name.startswith(backend)}
        seen |= {t.line.color for t in named(scaling, backend)}
        assert seen == {figures.COLOURS[backend]}
    assert len(set(figures.COLOURS.values())) == len(figures.COLOURS)
    assert figures.colour("parameter_server") == figures.colour("parameter_server")


def test_scaling_draws_speedup_efficiency_ideal_and_ceiling(study):
    figure = figures.plot_scaling(study)
    found = stats.scaling(figures.tidy(study)).set_index(["backend", "devices"])
    speedup, efficiency = named(figure, "horovod")
    expected = found.loc["horovod", 2]
    assert speedup.y[1] == pytest.approx(expected.speedup.value, rel=1e-5)
    assert efficiency.y[1] == pytest.approx(50 * expected.speedup.value, rel=1e-5)
    assert efficiency.y[1] - efficiency.error_y.arrayminus[1] == pytest.approx(
        100 * expected.efficiency.low, rel=1e-4
    )
    assert [list(t.y) for t in named(figure, "ideal")] == [[1, 2], [100, 100]]
    assert named(figure, "independent (the ceiling)")
    assert axis_titles(figure) == ["Devices", "Devices", "Speed-up over single × 1", "Efficiency (%)"]


def test_loss_is_drawn_with_its_distance_from_one_device(study):
    figure = figures.plot_loss(study, 64)
    record = next(r for r in study if (r.spec["backend"], r.spec["devices"]) == ("horovod", 2))
    reference = next(r for r in study if (r.spec["backend"], r.spec["batch_per_device"]) == ("single", 64))
    curve, gap = named(figure, "horovod × 2")
    assert list(curve.y) == pytest.approx(record.loss, rel=1e-5)
    expected = np.maximum(stats.differences(record.loss, reference.loss), 1e-8)
    assert list(gap.y) == pytest.approx(expected, rel=1e-5)
    assert {t.name for t in figure.data} == {"single × 1", "mirrored × 2", "horovod × 2", "independent × 2"}
    assert figure.layout.yaxis2.type == "log"
    (above, _), (_, below) = figure.layout.yaxis.domain, figure.layout.yaxis2.domain
    margins = figure.layout.margin
    gap_px = (above - below) * (figure.layout.height - margins.t - margins.b)
    assert gap_px > 2 * 16  # two labels of an axis, one above the other, find room


def test_loss_differences_tell_equal_training_from_independent_copies(study):
    found = figures.loss_differences(study).set_index(["backend", "devices"])
    assert found.largest_difference["horovod", 2] < 1e-5 < 1e-2 < found.largest_difference["independent", 2]
    assert found.early_difference["independent", 2] < found.largest_difference["independent", 2]
    assert ("single", 1) not in found.index


def test_failed_runs_are_left_out_and_none_at_all_is_said(study):
    failed = [fake_record("horovod", 2, seed=k, status="failed") for k in range(3)]
    without = [r for r in study if r.spec["backend"] != "horovod"]
    assert not named(figures.plot_throughput([*without, *failed]), "horovod × 2")
    assert not named(figures.plot_loss([*without, *failed], 64), "horovod × 2")
    with pytest.raises(SpecError, match="none of the runs was completed"):
        figures.plot_throughput(failed)
    with pytest.raises(SpecError, match="no completed run has global_batch=7"):
        figures.plot_loss(study, 7)


def test_one_run_of_each_is_drawn_without_interval():
    once = fake_study(repeats=1)
    assert "1 run of each" in figures.caption(once)
    figures.plot_scaling(once)
    assert named(figures.plot_throughput(once), "horovod × 2")[1].error_x.array[0] == 0


def test_summary_reads_as_text(study):
    summary = figures.scaling_summary(study)
    assert list(summary.index)[:2] == ["single × 1", "mirrored × 1"]
    assert summary.loc["single × 1", "efficiency"] == "100%"
    assert summary.loc["horovod × 2", "efficiency"].count("%") == 3
    for text in ("efficiency", "throughput (examples/s)"):  # a narrow column breaks before the interval only
        assert [part[0] for part in summary.loc["horovod × 2", text].split(" ")][1:] == ["["]
