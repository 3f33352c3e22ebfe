"""The explorer of a timeline: its step is the figure's."""

import pytest
from test_timeline import RECORDED

from dcbench import figures, widgets
from dcbench.figures.timeline import typical_step
from dcbench.timeline import read_timeline


@pytest.fixture
def timeline():
    return read_timeline(RECORDED)


def test_it_begins_with_the_median_step_and_follows_the_slider(timeline):
    explorer = widgets.explore_timeline(timeline)
    assert explorer.step == typical_step(timeline)
    slider, theme = explorer.children[0].children
    assert (slider.min, slider.max) == (1, 2)
    for step in (1, 2):
        slider.value = step
        assert explorer.figure.to_dict() == figures.plot_timeline(timeline, step).to_dict()
    theme.value = "dark"
    assert explorer.figure.to_dict() == figures.plot_timeline(timeline, 2).dark().to_dict()
    assert repr(explorer) == "2 steps to explore: interactive in JupyterLab"


def test_a_step_that_is_not_there_is_explained(timeline):
    explorer = widgets.explore_timeline(timeline)
    explorer.step = 99
    assert explorer.figure is None
    assert explorer.sentence.startswith("step=99 is not in the timeline; choose 1 to 2")
