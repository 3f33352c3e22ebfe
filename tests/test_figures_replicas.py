"""Pictures of copies on several devices: the paths given, the times and losses measured, and what cannot be drawn."""

import numpy as np
import pytest
from fake_records import fake_record, fake_sweep
from figure_parts import named

from dcbench import descent, figures, replicas, stats, store
from dcbench.errors import SpecError


@pytest.fixture(scope="module")
def line():
    return descent.linear()


def test_copies_are_drawn_where_they_walked(line):
    paths = replicas.train(line, 2, 0.05, 20, average_every=0)
    figure = figures.plot_replicas(line, paths, paths.mean(axis=0))
    for device, path in enumerate(paths):
        (drawn,) = named(figure, f"device {device}")
        assert np.column_stack([drawn.x, drawn.y]) == pytest.approx(path, rel=1e-5)
    (apart,) = named(figure, "distance")
    assert list(apart.y) == pytest.approx(replicas.spread(paths), rel=1e-5)
    assert f"up to {replicas.spread(paths).max():.2g} from their mean" in figure.layout.title.text
    assert figure.layout.yaxis2.title.text == "Farthest copy from the mean"
    assert figure.dark().layout.template != figure.layout.template


def test_equal_copies_are_called_equal(line):
    figure = figures.plot_replicas(line, replicas.train(line, 4, 0.05, 20), under="<b>told")
    assert "equal bit for bit" in figure.layout.title.text.replace("<br>", " ")
    assert "<b>" not in figure.layout.title.subtitle.text


def test_copies_of_one_parameter_lie_on_the_loss():
    wave = descent.sine()
    (drawn,) = named(figures.plot_replicas(wave, replicas.train(wave, 1, 0.05, 5)), "device 0")
    assert list(drawn.y) == pytest.approx(wave.loss(np.array(drawn.x)[:, None]), rel=1e-4)


def test_long_and_diverging_paths_stay_drawable(line):
    figure = figures.plot_replicas(line, replicas.train(line, 8, 50.0, 3000))
    drawn = [t for t in figure.data if t.type == "scatter"]
    assert sum(len(t.y) for t in drawn) <= figures.MAX_MARKS
    assert max(abs(v) for t in drawn for v in (*t.x, *t.y)) <= 1e9


def test_paths_of_another_shape_are_refused(line):
    with pytest.raises(SpecError, match=r"shape \(21, 2\); give \(devices, steps \+ 1, 2 parameters\)"):
        figures.plot_replicas(line, replicas.train(line, 1, steps=20)[0])


def test_times_of_averages_are_medians_in_milliseconds():
    figure = figures.plot_reductions({"ring": {1000: [0.001, 0.002, 0.003], 16_000_000: [0.02] * 3}}, "two <devices>")
    (ring,) = named(figure, "ring")
    assert (list(ring.x), list(ring.y)) == ([1000, 16e6], [2.0, 20.0])
    middle = stats.median_interval([0.001, 0.002, 0.003])
    assert ring.error_y.array[0] == pytest.approx(1e3 * (middle.high - middle.value))
    assert list(figure.layout.xaxis.ticktext) == ["1 kB", "16 MB"]
    assert "two  devices" in figure.layout.title.subtitle.text and "of 3 repeats" in figure.layout.title.subtitle.text
    with pytest.raises(SpecError, match="no measured times"):
        figures.plot_reductions({"ring": {}}, "here")


def learned(batch, rate, loss, seed=0, **fields):
    record = fake_record(batch=batch, learning_rate=rate, seed=seed, epochs=8, steps=None, **fields)
    record.metrics["test_loss"] = loss
    return record


def test_losses_by_batch_are_a_line_for_each_rule():
    runs = [learned(16, 0.1, 0.2), learned(64, 0.1, 0.8), learned(64, 0.4, 0.25), learned(64, 0.4, 0.35, seed=1)]
    runs.append(learned(16, 0.1, 0.22, backend="mirrored", devices=2, lr_scaling=True))
    figure = figures.plot_learning_rate_scaling(runs)
    (same,), (scaled,) = named(figure, replicas.SAME), named(figure, replicas.SCALED)
    assert (list(same.x), list(same.y)) == ([16, 64], [0.2, 0.8])
    assert (list(scaled.x), list(scaled.y)) == ([16, 32, 64], [0.2, 0.22, 0.3])
    (mirrored,) = named(figure, "mirrored × 2")
    assert (list(mirrored.x), list(mirrored.y)) == ([32], [0.22])
    assert figure.layout.title.text == "cnn on digits: batch and learning rate after 8 epochs"
    assert "learning rate 0.1 at 16 examples a step" in figure.layout.title.subtitle.text
    assert figure.layout.yaxis.title.text == "Test loss, lower is better"


def test_runs_without_the_metric_are_refused():
    with pytest.raises(SpecError, match="none of the 1 runs has a test_loss"):
        figures.plot_learning_rate_scaling([fake_record()])


def test_speedups_by_batch_are_those_of_the_scaling_table():
    runs = fake_sweep(counts=(1, 2), batches=(32, 64))
    figure = figures.plot_speedup_by_batch(runs)
    found = stats.scaling(store.tidy(runs))
    for backend, name in (("mirrored", "mirrored × 2"), ("independent", "independent × 2 (the ceiling)")):
        (drawn,) = named(figure, name)
        wanted = found[(found.backend == backend) & (found.devices == 2)].sort_values("batch")
        assert list(drawn.x) == list(wanted.batch)
        assert list(drawn.y) == pytest.approx([e.value for e in wanted.speedup], rel=1e-5)
        assert drawn.line.color == figures.colour(backend)
    assert list(named(figure, "ideal")[0].y) == [2, 2]


def test_speedups_at_the_same_global_batch_are_those_of_strong_scaling():
    runs = fake_sweep(counts=(1, 2), batches=(64,), mode="strong")
    figure = figures.plot_speedup_by_batch(runs, mode="strong")
    found = stats.scaling(store.tidy(runs), mode="strong")
    (wanted,) = found[(found.backend == "mirrored") & (found.devices == 2)].speedup
    (drawn,) = named(figure, "mirrored × 2")
    assert (list(drawn.x), list(drawn.y)) == ([64], pytest.approx([wanted.value], rel=1e-5))
    assert figure.layout.xaxis.title.text == "Examples a step of all devices together"


@pytest.mark.parametrize("several", [{"counts": (1, 2, 4)}, {"counts": (1, 2), "models": ("cnn", "mlp")}])
def test_several_models_or_numbers_of_devices_are_refused(several):
    with pytest.raises(SpecError, match="one model on one number of devices"):
        figures.plot_speedup_by_batch(fake_sweep(**several))
