"""Distances between ranks and between runs, by known answers."""

import dataclasses

import numpy as np
import pytest
from fake_records import fake_record

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.figures.drift import FLOOR
from dcbench.record import Series


def with_losses(*values, backend="horovod"):
    record = fake_record(backend, 1)
    return dataclasses.replace(record, samples=[Series(0, "h", "loss", 0, list(values))])


def test_the_rank_farthest_from_rank_0_counts():
    weights = np.tile([[3.0], [4.0]], (3, 2, 1, 1))  # ranks, steps, and a kernel of 2 by 1
    assert figures.rank_distance(weights).tolist() == [0, 0]
    weights[1, 1, 0], weights[2, 1, 0] = 3.5, 2.0
    assert figures.rank_distance(weights).tolist() == [0, 0.2]


def test_distances_are_drawn_in_percent():
    apart = np.array([[[3.0, 4.0], [3.0, 4.0]], [[3.0, 4.0], [3.0, 5.0]]])
    figure = figures.plot_drift({"stock": apart, "ours": apart[[0, 0]]})
    assert [list(t.y) for t in figure.data] == [[0, 20], [0, 0]]
    assert list(figure.data[0].x) == [1, 2]
    assert figure.layout.yaxis.range[0] < 0 < 20 < figure.layout.yaxis.range[1]  # the line at 0 is seen
    assert "2 ranks" in figure.layout.title.text
    with pytest.raises(SpecError, match="was given none"):
        figures.plot_drift({})


def test_losses_are_compared_step_by_step():
    reference = with_losses(2.0, 1.0, 0.5, backend="single")
    figure = figures.plot_loss_distance({"fp16": with_losses(2.0, 1.1, 0.4)}, reference)
    assert list(figure.data[0].y) == pytest.approx([FLOOR, 0.1, 0.2])
    assert "single × 1" in figure.layout.title.text
    with pytest.raises(SpecError, match="'short' has 1 losses and the reference 3"):
        figures.plot_loss_distance({"short": with_losses(2.0)}, reference)


def test_long_curves_are_thinned():
    long = np.ones((2, 50_000, 1))
    figure = figures.plot_drift({"a": long, "b": long})
    assert sum(len(t.x) for t in figure.data) <= figures.MAX_MARKS
    assert figure.data[0].x[-1] == 50_000
