"""The explorer of copies: its controls are its traits, and it shows what `replicas.train` gives."""

import pytest
from widget_parts import controls

from dcbench import descent, replicas, widgets


@pytest.fixture
def explorer():
    return widgets.explore_replicas({"line": descent.linear(), "wave": descent.sine()}, 0.05, 60)


def test_it_shows_the_copies_of_its_choices(explorer):
    explorer.devices, explorer.averaging, explorer.examples = 4, "every 5 steps", "sorted by x"
    expected = replicas.train(descent.linear(), 4, 0.05, 60, average_every=5, by_input=True)
    assert explorer.selected.tolist() == expected.tolist()
    assert {"device 0", "device 3", "one device, all examples"} <= {trace.name for trace in explorer.figure.data}
    explorer.problem = "wave"
    assert explorer.selected.shape == (4, 61, 1)


def test_controls_and_traits_are_one(explorer):
    made = controls(explorer)
    assert set(made) == {"problem", "devices", "averaging", "examples", "learning rate", "steps", "theme"}
    made["devices"].value, made["averaging"].value = 8, "never"
    assert (explorer.devices, explorer.averaging) == (8, "never")
    explorer.learning_rate = 0.2
    assert made["learning rate"].value == 0.2
    explorer.theme = "dark"
    assert explorer.figure.layout.paper_bgcolor != "#FFFFFF"


def test_a_choice_that_cannot_be_computed_is_explained():
    explorer = widgets.explore_replicas({"line": descent.linear(examples=12)})
    assert list(controls(explorer)["devices"].options) == [1, 2, 4, 8]
    explorer.devices = 8
    assert explorer.figure is None
    assert "12 examples cannot be shared equally by devices=8" in explorer.sentence
    explorer.devices = 4
    assert explorer.figure is not None
