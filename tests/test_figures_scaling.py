"""Speed-up and efficiency, the laws fitted to them, and the table to read."""

import numpy as np
import pytest
from fake_records import fake_record, fake_study, fake_sweep
from figure_parts import STUDY, SWEEP, axis_titles, named

from dcbench import figures, stats
from dcbench.errors import SpecError


def test_scaling_draws_speedup_efficiency_ideal_and_ceiling():
    figure = figures.plot_scaling(STUDY)
    found = stats.scaling(figures.tidy(STUDY)).set_index(["backend", "devices"])
    speedup, efficiency = named(figure, "horovod")
    expected = found.loc["horovod", 2]
    assert speedup.y[1] == pytest.approx(expected.speedup.value, rel=1e-5)
    assert efficiency.y[1] == pytest.approx(50 * expected.speedup.value, rel=1e-5)
    low = efficiency.y[1] - efficiency.error_y.arrayminus[1]
    assert low == pytest.approx(100 * expected.efficiency.low, rel=1e-4)
    assert [list(t.y) for t in named(figure, "ideal")] == [[1, 2], [100, 100]]
    assert named(figure, "independent (the ceiling)")
    assert not named(figure, "single")
    assert axis_titles(figure) == ["Devices", "Devices", "Speed-up over single × 1", "Efficiency (%)"]
    assert figure.layout.title.text.startswith("Weak scaling of cnn")


def test_a_base_of_several_devices_is_a_line_too():
    figure = figures.plot_scaling(STUDY, base="horovod")
    assert len(named(figure, "horovod")[0].y) == 2


def test_strong_scaling_keeps_the_global_batch():
    runs = fake_sweep(mode="strong", batches=(64,))
    figure = figures.plot_scaling(runs, mode="strong")
    assert figure.layout.title.text == "Strong scaling of cnn on digits, 64 examples a step"
    expected = stats.scaling(figures.tidy(runs), mode="strong").set_index(["backend", "devices"])
    assert named(figure, "horovod")[0].y[3] == pytest.approx(expected.loc["horovod", 8].speedup.value, rel=1e-5)


def test_axes_are_logarithmic_from_a_span_of_eight_on():
    wide, narrow = figures.plot_scaling(SWEEP), figures.plot_scaling(fake_sweep(counts=(1, 2, 4)))
    assert (wide.layout.xaxis.type, wide.layout.yaxis.type, wide.layout.yaxis2.type) == ("log", "log", None)
    assert wide.layout.xaxis.ticktext == ("1", "2", "4", "8")
    assert narrow.layout.xaxis.type is None
    assert 10 ** wide.layout.yaxis.range[1] > 8


def test_two_models_share_a_panel_and_are_told_apart_by_markers():
    figure = figures.plot_scaling(fake_sweep(models=("cnn", "mlp"), counts=(1, 2)))
    lines = [t for t in named(figure, "horovod") if t.xaxis == "x"]
    assert [t.marker.symbol for t in lines] == ["circle", "square"]
    assert {t.line.color for t in lines} == {figures.COLOURS["horovod"]}
    assert [t.showlegend for t in lines] == [True, False]
    assert [(t.name, t.marker.symbol) for t in figure.data[-2:]] == [("cnn", "circle"), ("mlp", "square")]


def test_batches_have_panels_of_which_the_ends_are_drawn_if_there_are_many():
    two = figures.plot_scaling(fake_sweep(counts=(1, 2), batches=(32, 64)))
    assert [a.text for a in two.layout.annotations] == [f"cnn on digits, {n} examples a device" for n in (32, 64)]
    many = figures.plot_scaling(fake_sweep(counts=(1, 2), batches=(16, 32, 64, 128, 256), repeats=2))
    assert [a.text.split(", ")[1][:3] for a in many.layout.annotations] == ["16 ", "256"]
    assert "2 of 5 models and batches are drawn" in many.layout.title.subtitle.text


def test_variants_of_a_backend_have_lines_of_their_own():
    alone = [fake_record("single", 1, seed=k) for k in range(3)]
    ways = [(way, n, k) for way in ("mpi", "gloo") for n in (1, 2) for k in range(3)]
    runs = [*alone, *(fake_record("horovod", n, seed=k, transport=way) for way, n, k in ways)]
    figure = figures.plot_scaling(runs)
    lines = {t.name: t.line for t in figure.data if t.name.startswith("horovod")}
    assert set(lines) == {"horovod, transport=mpi", "horovod, transport=gloo"}
    assert len({line.dash for line in lines.values()}) == 2
    assert len({line.color for line in lines.values()}) == 1


def test_what_scaling_flags_is_in_the_caption():
    assert "2 repeats: fewer than 5" in figures.plot_scaling(fake_sweep(repeats=2)).layout.title.subtitle.text
    some = [r for r in SWEEP if r.sweep["round"] < 4 or r.spec["backend"] != "horovod"]
    few = figures.plot_scaling(some).layout.title.subtitle.text
    assert "4 repeats: fewer than 5 (horovod × 1, horovod × 2, horovod × 4, horovod × 8)" in few.replace("<br>", " ")
    assert "fewer than" not in figures.plot_scaling(SWEEP).layout.title.subtitle.text


def test_one_run_of_each_and_one_count_can_be_drawn():
    figures.plot_scaling(fake_study(repeats=1))
    assert list(named(figures.plot_scaling(fake_sweep(counts=(1,))), "ideal")[0].x) == [1]


def test_a_missing_base_is_said():
    with pytest.raises(SpecError, match="single"):
        figures.plot_scaling([r for r in SWEEP if r.spec["backend"] != "single"])


def test_summary_reads_as_text():
    summary = figures.scaling_summary(STUDY)
    assert summary.loc["single × 1", "efficiency"] == "100%"
    assert summary.loc["horovod × 2", "efficiency"].count("%") == 3
    for text in ("efficiency", "throughput (examples/s)"):  # a narrow column breaks before the interval only
        assert [part[0] for part in summary.loc["horovod × 2", text].split(" ")][1:] == ["["]


def test_summary_of_several_models_names_them():
    summary = figures.scaling_summary(fake_sweep(models=("cnn", "mlp"), counts=(1, 2)))
    assert summary.index.names == ["model", "configuration"]
    assert summary.index.is_unique
    assert list(summary.index[:3]) == [("cnn", "single × 1"), ("cnn", "mirrored × 1"), ("cnn", "horovod × 1")]
    assert ("mlp", "horovod × 2") in summary.index


def test_summary_of_several_batches_is_sorted_by_number():
    summary = figures.scaling_summary(fake_sweep(batches=(128, 32, 64), counts=(1, 2)))
    assert list(summary.index.get_level_values("examples a device").unique()) == ["32", "64", "128"]


def exact(law):
    """Return a sweep whose speed-ups follow a law exactly."""
    runs = [r for r in fake_sweep() if r.spec["backend"] in ("single", "horovod") and not r.sweep["canary"]]
    for record in runs:
        record.metrics["throughput"] = 1000 * law(record.spec["devices"])
    return runs


def test_a_law_is_drawn_with_its_parameters_and_what_it_extrapolates():
    figure = figures.plot_scaling_law(exact(lambda n: 1 / (0.1 + 0.9 / n)), "amdahl", up_to=64)
    (measured,), (inside,), (band,) = (named(figure, n) for n in ("horovod", "horovod, fit", "horovod, 95 % band"))
    dashed, points = named(figure, "horovod, extrapolated")
    assert "horovod: serial fraction 0.1" in figure.layout.title.subtitle.text
    assert list(measured.x) == [1, 2, 4, 8]
    assert measured.y[3] == pytest.approx(1 / (0.1 + 0.9 / 8), rel=1e-5)
    assert max(inside.x) == 8 == min(dashed.x) and inside.line.dash != dashed.line.dash
    assert list(points.x) == [16, 32, 64]
    assert list(points.y) == pytest.approx([1 / (0.1 + 0.9 / n) for n in (16, 32, 64)], rel=1e-4)
    assert points.marker.symbol == "circle-open"
    assert points.text[0].startswith("extrapolated")
    assert named(figure, "extrapolated")[0].showlegend is not False  # the word is in the legend
    assert band.fill == "toself"
    assert not any(t.name.startswith("independent") for t in figure.data)


def test_nothing_is_extrapolated_unless_asked():
    figure = figures.plot_scaling_law(SWEEP, "gustafson", up_to=8)
    assert not [t for t in figure.data if "extrapolated" in t.name]
    assert max(max(t.x) for t in figure.data) == 8


def test_a_band_is_as_wide_as_the_interval_of_the_prediction():
    figure = figures.plot_scaling_law(SWEEP, "amdahl")
    rounds = stats.speedups(figures.tidy(SWEEP))
    own = rounds[rounds["backend"] == "horovod"]
    expected = stats.fit_scaling_law(own["devices"], own["speedup"], own["round"]).predict(32)
    (band,) = named(figure, "horovod, 95 % band")
    ends = [y for x, y in zip(band.x, band.y, strict=True) if np.isclose(x, 32)]
    assert sorted(ends) == pytest.approx([expected.low, expected.high], rel=1e-4)


def test_a_backend_that_cannot_be_fitted_is_left_out_and_said():
    runs = [r for r in SWEEP if r.spec["backend"] != "mirrored" or r.spec["devices"] == 1]
    figure = figures.plot_scaling_law(runs)
    assert "too few numbers of devices were measured: mirrored" in figure.layout.title.subtitle.text
    assert named(figure, "horovod, fit") and not named(figure, "mirrored, fit")
    assert "too few numbers" not in figures.plot_scaling_law(SWEEP).layout.title.subtitle.text


def test_speedups_that_are_not_known_leave_the_others_to_be_fitted(monkeypatch):
    rounds = stats.speedups(figures.tidy(SWEEP))
    unknown = (rounds["backend"] == "horovod") & (rounds["round"] == 2)
    monkeypatch.setattr(stats, "speedups", lambda *_: rounds.assign(speedup=rounds["speedup"].mask(unknown)))
    assert named(figures.plot_scaling_law(SWEEP), "horovod, fit")


def test_intervals_and_bands_that_end_beyond_their_axis_are_said():
    said = "intervals wider than the axis run out of sight"
    runs = exact(lambda n: n**0.8)
    assert said not in figures.plot_scaling_law(runs, "usl").layout.title.subtitle.text
    assert said not in figures.plot_scaling(runs).layout.title.subtitle.text
    for record in runs:
        if record.spec["devices"] > 1:
            record.metrics["throughput"] *= (0.3, 1.0, 2.0, 0.5, 1.0)[record.sweep["round"]]
    assert said in figures.plot_scaling_law(runs, "usl").layout.title.subtitle.text
    assert said in figures.plot_scaling(runs).layout.title.subtitle.text


def test_laws_refuse_what_they_cannot_draw():
    with pytest.raises(SpecError, match="up_to=4 is below the 8 devices"):
        figures.plot_scaling_law(SWEEP, up_to=4)
    with pytest.raises(SpecError, match="unknown scaling law"):
        figures.plot_scaling_law(SWEEP, "moore")
    with pytest.raises(SpecError, match="add runs on"):
        figures.plot_scaling_law([r for r in SWEEP if r.spec["devices"] == 1])


def test_no_curve_is_drawn_where_the_law_cannot_describe_the_points():
    slower = [r for r in fake_sweep() if r.spec["backend"] in ("single", "horovod")]
    for record in slower:
        if record.spec["devices"] > 1:
            record.metrics["throughput"] *= 0.01
    figure = figures.plot_scaling_law(slower, "gustafson")
    assert not [t.name for t in figure.data if t.name and ("fit" in t.name or "band" in t.name or ", extra" in t.name)]
    assert not named(figure, "extrapolated")
    assert "no curve: serial_fraction was held at 1" in figure.layout.title.subtitle.text.replace("<br>", " ")


def test_a_law_whose_second_parameter_is_not_needed_is_drawn():
    figure = figures.plot_scaling_law(fake_sweep(), "usl")
    assert "coherency was held at 0" in figure.layout.title.subtitle.text.replace("<br>", " ")
    assert "no curve" not in figure.layout.title.subtitle.text
    assert [t for t in figure.data if t.name == "horovod, fit"] and named(figure, "extrapolated")
