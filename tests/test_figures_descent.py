"""Pictures of gradient descent: the path lies on the loss, what runs away is said, and the dark copy is dark."""

import json

import numpy as np
import pytest

from dcbench import descent, figures
from dcbench.errors import SpecError


@pytest.fixture(scope="module")
def line():
    return descent.linear()


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_a_path_on_a_surface_of_two_parameters(line):
    walked = descent.descend(line, steps=20)
    figure = figures.plot_descent({"gradient descent": walked})
    path, _, end, losses = named(figure, "gradient descent")
    assert np.column_stack([path.x, path.y]) == pytest.approx(walked.path, rel=1e-5)
    assert (end.x[0], end.y[0]) == pytest.approx(walked.path[-1], rel=1e-5)
    assert list(losses.y) == pytest.approx(walked.losses, rel=1e-5)
    (surface,) = [t for t in figure.data if t.type == "contour"]
    assert surface.z[3][5] ** 2 == pytest.approx(line.loss((surface.x[5], surface.y[3])), rel=1e-3)
    assert figure.layout.xaxis.title.text == "w" and figure.layout.yaxis.title.text == "b"


def test_a_path_on_a_loss_of_one_parameter_lies_on_its_curve():
    wave = descent.sine()
    figure = figures.plot_descent({"here": descent.descend(wave, start=[4.6], steps=20)})
    path, curve = named(figure, "here")[0], named(figure, "loss surface")[0]
    assert list(path.y) == pytest.approx(np.interp(path.x, curve.x, curve.y), rel=1e-3)
    assert figure.layout.xaxis.title.text == "θ"


def test_what_runs_away_is_said_and_stays_drawable(line):
    paths = {"slow": descent.descend(line), "fast": descent.descend(line, learning_rate=50.0)}
    figure = figures.plot_descent(paths)
    said = figure.layout.title.subtitle.text
    assert "ended higher than it began: fast" in said and "learning rate 0.1 and 50; " in said
    assert f"fast left all bounds at step {len(paths['fast'].path) - 1}<br>" in said and "slow left" not in said
    assert max(max(t.y) for t in named(figure, "fast")) <= 1e9
    low, high = figure.layout.yaxis2.range
    assert 10**high == pytest.approx(3 * paths["fast"].losses[0])
    assert 10**low < paths["slow"].losses[-1]


def test_a_figure_of_paths_may_have_a_title_of_its_own_and_says_the_largest_rate_of_a_schedule(line):
    figure = figures.plot_descent({"cosine": descent.descend(line, schedule="cosine")}, "A rate that falls")
    assert figure.layout.title.text == "A rate that falls"
    assert "learning rate up to 0.1; " in figure.layout.title.subtitle.text


def test_long_paths_are_thinned_to_what_can_be_seen(line):
    figure = figures.plot_descent({r: descent.descend(line, r, steps=3000) for r in descent.RULES})
    assert sum(len(t.x) for t in figure.data if t.type == "scatter") <= figures.MAX_MARKS + 20
    assert {t.mode for t in named(figure, "Adam")} == {"lines", "markers"}
    assert len(json.dumps(figure.to_plotly_json(), default=list)) < 150_000


def test_rules_look_the_same_in_every_figure(line):
    paths = {r: descent.descend(line, r) for r in reversed(descent.RULES)}
    rates = figures.plot_learning_rates([0.1, 0.2], {rule: [1.0, 2.0] for rule in descent.RULES}, 10)
    for rule in descent.RULES:
        shades = {t.line.color for f in (figures.plot_descent(paths), rates) for t in named(f, rule) if t.line.color}
        assert len(shades) == 1
    assert len({named(rates, rule)[0].line.dash for rule in descent.RULES}) == len(descent.RULES)


def test_descents_of_two_problems_are_refused():
    wrong = {"a": descent.descend(descent.linear()), "b": descent.descend(descent.sine())}
    for given in (wrong, {}):
        with pytest.raises(SpecError, match="needs descents of one problem"):
            figures.plot_descent(given)


def test_a_fit_says_its_loss(line):
    figure = figures.plot_fit(line, {"truth": (2, -1)})
    assert f"truth {line.loss((2, -1)):.3g}" in figure.layout.title.subtitle.text
    (drawn,) = named(figure, "truth")
    assert list(drawn.y) == pytest.approx(2 * np.array(drawn.x) - 1, abs=1e-4)


def test_schedules_and_others_beside_them():
    figure = figures.plot_schedules(0.2, 50, {"cosine": descent.rates("cosine", 0.2, 50)})
    (line,), (points,) = named(figure, "cosine"), named(figure, "cosine, Keras")
    assert len(figure.data) == len(descent.SCHEDULES) + 1
    assert [line.y[k] for k in points.x] == pytest.approx(points.y)
    assert "points" not in figures.plot_schedules(0.2, 50).layout.title.subtitle.text


def test_the_worked_example_of_cross_entropy():
    figure = figures.plot_cross_entropy([0.4])
    (marked,) = named(figure, "marked")
    assert marked.y[0] == pytest.approx(0.458, abs=5e-4)
    assert [note.text for note in figure.layout.annotations] == ["ŷ = 0.4: 0.458"]
    with pytest.raises(SpecError, match="predictions above 0 and at most 1"):
        figures.plot_cross_entropy([0.0])


def test_optimizers_need_an_epoch():
    figure = figures.plot_optimizers({"Adam": [2.0, 1.0]}, "digits")
    assert list(figure.data[0].x) == [1, 2]
    with pytest.raises(SpecError, match="without an epoch"):
        figures.plot_optimizers({"Adam": []}, "digits")


def test_the_dark_copy_has_no_light_colour(line):
    every = [
        figures.plot_descent({r: descent.descend(line, r) for r in descent.RULES}),
        figures.plot_fit(line, {"truth": (2, -1)}),
        figures.plot_schedules(0.1, 20),
        figures.plot_cross_entropy([0.4]),
        figures.plot_learning_rates([0.1, 0.2], {"Adam": [1.0, 2.0]}, 10, limit=0.15),
        figures.plot_optimizers({"Adam": [2.0, 1.0]}, "digits"),
    ]
    for figure in every:
        text = json.dumps(figure.dark().to_plotly_json(), default=list)
        assert not [shade for shade in ("#FFFFFF", "#4D4D4D", "#0072B2", "#B8C0C8") if shade in text]
