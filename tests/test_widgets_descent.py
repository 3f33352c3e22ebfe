"""The explorer of gradient descent: controls follow the problem, and show what `descend` gives."""

import pytest
from widget_parts import controls

from dcbench import descent, widgets
from dcbench.errors import SpecError


@pytest.fixture
def explorer():
    return widgets.explore_descent({"line": descent.linear(), "wave": descent.sine()})


def test_it_shows_the_descent_of_its_choices(explorer):
    explorer.rule, explorer.learning_rate, explorer.schedule, explorer.batch = "Adam", 0.2, "cosine", 8
    expected = descent.descend(descent.linear(), "Adam", 0.2, "cosine", 8)
    assert explorer.selected.path.tolist() == expected.path.tolist()
    assert "of 8 examples" in explorer._note.value
    assert "Adam" in {trace.name for trace in explorer.figure.data}


def test_controls_and_traits_are_one(explorer):
    made = controls(explorer)
    assert set(made) == {"problem", "rule", "schedule", "theme", "learning rate", "batch", "start of w", "steps"}
    made["learning rate"].value = 0.3
    made["rule"].value = "momentum"
    assert (explorer.learning_rate, explorer.rule) == (0.3, "momentum")
    explorer.steps = 100
    assert made["steps"].value == 100
    assert len(explorer.selected.path) == 101


def test_another_problem_has_its_own_start_and_batch(explorer):
    explorer.batch = 4
    explorer.problem = "wave"
    made = controls(explorer)
    assert (explorer.start, explorer.batch) == (descent.Sine.start[0], 64)
    assert (made["start of θ"].min, made["start of θ"].max) == descent.Sine.window[0]
    explorer.start = 4.6
    assert explorer.selected.path[0].tolist() == [4.6]
    explorer.problem = "line"
    assert explorer.start == descent.Linear.start[0]
    assert explorer.selected.path[0].tolist() == list(descent.Linear.start)


def test_what_runs_away_and_what_cannot_be_computed_is_said(explorer):
    explorer.learning_rate = 0.6
    assert "smaller learning rate" in explorer._note.value
    explorer.learning_rate = -1.0
    assert explorer.figure is None
    (shown,) = explorer._place.outputs
    assert "learning_rate=-1.0 is out of range" in shown["data"]["text/plain"]
    explorer.learning_rate = 0.1
    assert explorer.figure is not None


def test_it_is_drawn_dark_and_without_an_upload_button(explorer):
    explorer.theme = "dark"
    assert explorer.figure.layout.template.layout.paper_bgcolor == "#14191F"
    (shown,) = explorer._place.outputs
    assert shown["data"]["application/vnd.plotly.v1+json"]["config"]["showSendToCloud"] is False


def test_without_a_problem_it_is_refused():
    with pytest.raises(SpecError, match="was given none"):
        widgets.explore_descent({})
