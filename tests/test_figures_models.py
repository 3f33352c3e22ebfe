"""Figures of models and predictions: known counts, formulas beside what was built, mistakes, effects."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fake_records import fake_record, fake_sweep
from figure_parts import axis_titles, colours, named

from dcbench import figures
from dcbench.effects import effects
from dcbench.errors import SpecError
from dcbench.figures._theme import DARK_OF
from dcbench.record import Series

TRUTH, SAID = [0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 0, 2]
IMAGES = np.linspace(0, 1, 6 * 4).reshape(6, 2, 2, 1)
SIZES = {"parameters": 1000, "flops_per_example": 6000, "weight_bytes": 4000, "gradient_bytes": 4000}
SCORES = pd.DataFrame({"plain": [0.80, 0.70], "up": [0.85, 0.75], "down": [0.70, 0.61]})


def built(model="cnn", **fields):
    record = fake_record(model=model)
    tests = Series(0, "node-1", "test_accuracy", [20, 40], [0.5, 0.75])
    sizes = {**SIZES, "optimizer_bytes": 8000, **fields}
    return dataclasses.replace(record, model=sizes, samples=[*record.samples, tests])


RUNS = [built(), built("mlp", parameters=50_000)]
KINDS = {
    "models": lambda: figures.plot_models(RUNS, {"cnn": {"parameters": 900}}),
    "learning": lambda: figures.plot_learning(RUNS),
    "confusion": lambda: figures.plot_confusion(TRUTH, SAID),
    "scores": lambda: figures.plot_scores(TRUTH, SAID),
    "mistakes": lambda: figures.plot_mistakes(IMAGES, TRUTH, SAID),
    "effects": lambda: figures.plot_effects(effects(SCORES, "plain")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_a_title_and_a_dark_copy(kind):
    figure = KINDS[kind]()
    assert figure.layout.title.text and figure.layout.title.subtitle.text
    assert not colours(figure.dark()) & set(DARK_OF)


def test_sizes_as_built_stand_in_the_rings_of_their_formulas():
    figure = KINDS["models"]()
    assert [tuple(t.x) for t in named(figure, "as built")][:3] == [(1000, 50_000), (6000, 6000), (16_000, 16_000)]
    rings = [dict(zip(t.y, t.x, strict=True)) for t in named(figure, "by formula")]
    assert rings == [{"cnn": 900}, {}, {}, {}]
    assert figure.layout.xaxis.range == (2, 5)
    assert [t.showlegend for t in named(figure, "by formula")] == [True, False, False, False]


def test_what_a_model_does_not_tell_is_not_drawn():
    plain = dataclasses.replace(built(), model={"parameters": 1000, "flops_per_example": None}, metrics={})
    assert [a.text for a in figures.plot_models([plain]).layout.annotations] == ["Parameters"]
    with pytest.raises(SpecError, match="none of 1 runs completed"):
        figures.plot_models([dataclasses.replace(plain, status="failed")])


def test_learning_draws_the_running_mean_and_the_accuracy():
    figure = KINDS["learning"]()
    pale, mean, accuracy = named(figure, "cnn")
    loss = RUNS[0].loss
    assert list(pale.y) == pytest.approx(loss, rel=1e-5)
    assert mean.y[19] == pytest.approx(loss[9:30].mean(), rel=1e-5)  # that step, and ten on both sides
    assert mean.y[2] == pytest.approx(loss[:13].mean(), rel=1e-5)
    assert mean.y[-1] == pytest.approx(loss[-11:].mean(), rel=1e-5)
    assert (tuple(accuracy.x), tuple(accuracy.y)) == ((20, 40), (0.5, 0.75))
    assert len({t.line.color for t in figure.data if t.line.width == 2}) == 2
    assert axis_titles(figures.plot_learning(fake_sweep(counts=(1,))))[-1] == "Training loss"


def test_a_confusion_matrix_counts_true_classes_in_rows():
    (cells,) = figures.plot_confusion(TRUTH, SAID).data
    assert np.array(cells.text).tolist() == [["1", "1", ""], ["1", "2", ""], ["", "", "1"]]
    assert list(cells.z[1]) == pytest.approx([0.3333, 0.6667, 0])
    assert "4 of 6 examples" in figures.plot_confusion(TRUTH, SAID).layout.title.subtitle.text


def test_scores_by_class_are_those_computed_by_hand():
    figure = figures.plot_scores([0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 1, 0])
    values = {t.name: tuple(t.y) for t in figure.data}
    assert values["precision"] == pytest.approx((1 / 2, 3 / 4, 0), abs=1e-4)
    assert values["recall"] == pytest.approx((1 / 2, 1, 0), abs=1e-4)
    assert values["F1"] == pytest.approx((1 / 2, 6 / 7, 0), abs=1e-4)


def test_mistakes_are_the_wrong_images():
    figure = figures.plot_mistakes(IMAGES, TRUTH, SAID)
    assert [a.text for a in figure.layout.annotations] == ["0 → 1", "1 → 0"]
    assert np.array(figure.data[0].z) == pytest.approx(IMAGES[1, ..., 0], abs=1e-3)
    many = figures.plot_mistakes(np.zeros((40, 2, 2, 1)), [0] * 40, [1] * 40)
    assert len(many.data) == 24 and "the first 24 of 40" in many.layout.title.subtitle.text


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(SpecError, match="no mistake to draw"):
        figures.plot_mistakes(IMAGES, TRUTH, TRUTH)
    with pytest.raises(SpecError, match="an array of shape"):
        figures.plot_mistakes(IMAGES[:3], TRUTH, SAID)
    with pytest.raises(SpecError, match="cannot be compared"):
        figures.plot_confusion(TRUTH, SAID[:2])
    with pytest.raises(SpecError, match="no effects"):
        figures.plot_effects([])


def test_effects_are_drawn_in_points_with_their_verdict():
    figure = KINDS["effects"]()
    each, middle = named(figure, "up")
    assert list(each.x) == pytest.approx([5, 5])
    assert list(middle.x) == pytest.approx([5])
    assert "better" in middle.y[0]
    assert axis_titles(figure)[0].startswith("Change of test accuracy against plain (percentage points)")
