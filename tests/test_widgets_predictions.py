"""The explorer of predictions: traits choose the model and the view, the figure is that of `figures`."""

import numpy as np
import pytest

from dcbench import figures, widgets
from dcbench.errors import SpecError

TRUTH = [0, 1, 1]
PREDICTED = {"cnn": [0, 1, 1], "mlp": [0, 0, 1]}
IMAGES = np.zeros((3, 2, 2, 1))


@pytest.fixture
def explorer():
    return widgets.explore_predictions(IMAGES, TRUTH, PREDICTED)


def test_it_shows_the_figure_of_its_choices(explorer):
    assert explorer.figure == figures.plot_confusion(TRUTH, PREDICTED["cnn"], "cnn")
    explorer.model = "mlp"
    assert explorer.figure == figures.plot_confusion(TRUTH, PREDICTED["mlp"], "mlp")
    explorer.view = "scores by class"
    assert explorer.figure == figures.plot_scores(TRUTH, PREDICTED["mlp"], "mlp")
    explorer.view = "mistakes"
    assert explorer.figure == figures.plot_mistakes(IMAGES, TRUTH, PREDICTED["mlp"], "mlp")


def test_controls_and_traits_are_one(explorer):
    controls = {c.description: c for c in explorer.children[0].children}
    assert set(controls) == {"model", "view", "theme"}
    controls["model"].value = "mlp"
    controls["theme"].value = "dark"
    assert (explorer.model, explorer.theme) == ("mlp", "dark")
    assert explorer.figure == figures.plot_confusion(TRUTH, PREDICTED["mlp"], "mlp").dark()
    explorer.view = "mistakes"
    assert controls["view"].value == "mistakes"


def test_a_model_without_mistakes_says_so(explorer):
    explorer.view = "mistakes"
    assert explorer.figure is None
    assert "cnn classified all 3 examples correctly" in explorer.sentence


def test_without_predictions_it_is_refused():
    with pytest.raises(SpecError, match="was given none"):
        widgets.explore_predictions(IMAGES, TRUTH, {})
