"""Loss curves on one axis, and how far they are apart."""

import dataclasses

import numpy as np
import pytest
from fake_records import fake_record, fake_sweep
from figure_parts import STUDY, marks, named, of

from dcbench import figures, stats
from dcbench.errors import SpecError
from dcbench.record import Series


def test_loss_is_drawn_with_its_distance_from_one_device():
    figure = figures.plot_loss(STUDY, 64)
    record = of(STUDY, "horovod", 2)[0]
    reference = next(r for r in of(STUDY, "single", 1) if r.spec["batch_per_device"] == 64)
    curve, gap = named(figure, "horovod × 2")
    assert list(curve.y) == pytest.approx(record.loss, rel=1e-5)
    expected = np.maximum(stats.differences(record.loss, reference.loss), 1e-8)
    assert list(gap.y) == pytest.approx(expected, rel=1e-5)
    assert {t.name for t in figure.data} == {"single × 1", "mirrored × 2", "horovod × 2", "independent × 2"}
    assert figure.layout.yaxis2.type == "log"
    assert [t.showlegend for t in (curve, gap)] == [True, False]
    (above, _), (_, below) = figure.layout.yaxis.domain, figure.layout.yaxis2.domain
    margins = figure.layout.margin
    gap_px = (above - below) * (figure.layout.height - margins.t - margins.b)
    assert gap_px > 2 * 16  # two labels of an axis, one above the other, find room


def test_loss_differences_tell_equal_training_from_independent_copies():
    found = figures.loss_differences(STUDY).set_index(["backend", "devices"])
    assert found.largest_difference["horovod", 2] < 1e-5 < 1e-2 < found.largest_difference["independent", 2]
    assert found.early_difference["independent", 2] < found.largest_difference["independent", 2]
    assert ("single", 1) not in found.index
    assert set(found["model"]) == {"cnn"}


def test_a_curve_is_compared_with_the_same_model_at_the_same_settings():
    runs = fake_sweep(counts=(1, 2), batches=(32, 64), models=("cnn", "mlp"), repeats=1)
    found = figures.loss_differences(runs)
    assert len(found) == 2 * len(figures.loss_differences([r for r in runs if r.spec["model"] == "cnn"]))
    other = [fake_record("single", 1, 64), fake_record("horovod", 2, 32, learning_rate=0.1)]
    assert figures.loss_differences(other).empty


def test_a_run_that_sought_a_target_is_not_drawn_twice():
    runs = [*of(STUDY, "horovod", 2), fake_record("horovod", 2, target_accuracy=0.9, steps=300)]
    assert len(named(figures.plot_loss(runs, 64), "horovod × 2")) == 1


def test_curves_of_one_configuration_are_named_by_what_differs():
    runs = [
        fake_record("single", 1, 64),
        fake_record("horovod", 2, learning_rate=0.1),
        fake_record("horovod", 2, learning_rate=0.1, compression="fp16"),
        fake_record("horovod", 2, learning_rate=0.1, threads_per_device=2),
    ]
    lines = {t.name: t.line for t in figures.plot_loss(runs, 64).data}
    first, rate = (r.spec["learning_rate"] for r in runs[:2])
    assert first != rate
    ways = ("compression=none, threads_per_device=1", "compression=fp16, threads_per_device=1",
            "compression=none, threads_per_device=2")  # fmt: skip
    assert set(lines) == {f"single × 1, learning_rate={first}", *(f"horovod × 2, learning_rate=0.1, {w}" for w in ways)}
    assert len({line.dash for name, line in lines.items() if name.startswith("horovod")}) == 3


def test_exact_zeros_are_said_to_be_drawn_at_the_floor():
    one = fake_record("single", 1, 64)
    same = dataclasses.replace(fake_record("mirrored", 1, 64), samples=one.samples)
    figure = figures.plot_loss([one, same], 64)
    assert set(named(figure, "mirrored × 1")[1].y) == {1e-8}
    assert "those of exactly 0, are drawn at 10⁻⁸" in figure.layout.title.subtitle.text
    far = figures.plot_loss([one, fake_record("independent", 2, 32)], 64)
    assert "drawn at 10⁻⁸" not in far.layout.title.subtitle.text


def test_canaries_have_no_curve():
    runs = fake_sweep(counts=(1, 2), repeats=1)
    own = [r for r in runs if not r.sweep["canary"]]
    assert [t.name for t in figures.plot_loss(runs, 32).data] == [t.name for t in figures.plot_loss(own, 32).data]
    assert figures.loss_differences(runs).equals(figures.loss_differences(own))


def test_models_are_drawn_side_by_side_or_alone():
    runs = fake_sweep(counts=(1, 2), batches=(32, 64), models=("cnn", "mlp"), repeats=1)
    both = figures.plot_loss(runs, 64)
    assert [a.text for a in both.layout.annotations] == ["cnn", "mlp"]
    assert [t.showlegend for t in named(both, "horovod × 2")] == [True, False, False, False]
    alone = figures.plot_loss(runs, 64, model="mlp")
    assert len(alone.data) == len(both.data) / 2
    assert alone.layout.title.text == "Loss at 64 examples a step: mlp"
    with pytest.raises(SpecError, match="no completed run has global_batch=64 and model='rnn'"):
        figures.plot_loss(runs, 64, model="rnn")


def test_without_one_device_to_compare_with_the_losses_are_drawn_alone():
    figure = figures.plot_loss([r for r in STUDY if r.spec["backend"] == "horovod"], 64)
    assert [t.name for t in figure.data] == ["horovod × 2"]
    assert "backend 'single' has no run of the same training" in figure.layout.title.subtitle.text
    assert len(list(figure.select_yaxes())) == 1
    alone = figures.plot_loss([r for r in STUDY if r.spec["backend"] == "single"], 64)
    assert "no run of" not in alone.layout.title.subtitle.text


def test_long_curves_are_thinned_without_losing_a_peak():
    loss = np.random.default_rng(0).uniform(1, 2, 50_000)
    loss[[12_345, 30_001]] = 9.0, 0.1
    records = [
        dataclasses.replace(r, samples=[Series(0, "h", "loss", 0, list(loss))])
        for r in (fake_record("single", 1, 64), fake_record("mirrored", 1, 64), fake_record("horovod", 1, 64))
    ]
    figure = figures.plot_loss(records, 64)
    (curve,) = named(figure, "single × 1")
    drawn = dict(zip(curve.x, curve.y, strict=True))
    assert (drawn[12_346], drawn[30_002]) == (9.0, 0.1)
    assert 1000 < marks(figure) <= figures.MAX_MARKS
    assert "the least and the largest loss of each stretch" in figure.layout.title.subtitle.text


def test_failed_runs_are_left_out_and_none_at_all_is_said():
    failed = [fake_record("horovod", 2, seed=k, status="failed") for k in range(3)]
    without = [r for r in STUDY if r.spec["backend"] != "horovod"]
    assert not named(figures.plot_loss([*without, *failed], 64), "horovod × 2")
    with pytest.raises(SpecError, match="no completed run has global_batch=7"):
        figures.plot_loss(STUDY, 7)
