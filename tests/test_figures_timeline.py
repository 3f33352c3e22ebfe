"""The figure of one step: bars begin and end where the timeline says."""

import pytest
from fake_records import fake_record
from test_timeline import RECORDED, TWO_STEPS, reduction, written  # noqa: F401 - a fixture

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.figures.timeline import MOST_GRADIENTS, MOST_RANKS, typical_step
from dcbench.timeline import read_timeline


def bars(figure):
    """Return (row, start, length) in ms of each part."""
    return {t.name: list(zip(t.y, t.base, t.x, strict=True)) for t in figure.data}


def test_ranks_compute_wait_and_exchange(written):  # noqa: F811
    found = bars(figures.plot_timeline(read_timeline(written(TWO_STEPS)), step=1))
    assert found["compute"] == [("rank 0", 0, 0.1), ("rank 1", 0, 0.08)]
    assert found["wait for the slowest rank"] == [("rank 0", 0.1, 0), ("rank 1", 0.08, 0.02)]
    assert found["exchange gradients"] == [("rank 0", 0.1, 0.1), ("rank 1", 0.1, 0.1)]
    assert found["agree that all have it"] == [("gradient 1: 2 × 3", 0.08, 0.02), ("gradient 2: 1", 0.08, 0.02)]
    assert found["all-reduce"] == [("gradient 1: 2 × 3", 0.111, 0.068), ("gradient 2: 1", 0.111, 0.088)]


def test_the_median_step_is_drawn_unless_one_is_asked_for(written):  # noqa: F811
    events = [e for start, lasts in ((0, 50), (100, 70), (200, 10), (300, 90)) for e in
              reduction(1, (start + 1, start + 2), start + 3, start + lasts)]  # fmt: skip
    timeline = read_timeline(written(events))  # the steps last 120, 40 and 180 µs
    assert typical_step(timeline) == 1
    assert figures.plot_timeline(timeline).layout.title.text == "Step 1: 0.12 ms by rank and by gradient"
    with pytest.raises(SpecError, match="step=0 is not in the timeline; choose 1 to 3"):
        figures.plot_timeline(timeline, step=0)


def test_of_many_ranks_and_gradients_the_slowest_and_the_largest_are_drawn(written):  # noqa: F811
    ranks = MOST_RANKS + 3
    events = []
    for start in (0, 10_000):
        for tensor in range(MOST_GRADIENTS + 2):
            ready = [start + 10 * r for r in range(ranks)]
            events += reduction(tensor, ready, start + 1000, start + 2000, shape=f"[{tensor + 1}]")
    figure = figures.plot_timeline(read_timeline(written(events)))
    found = bars(figure)
    assert [row for row, *_ in found["compute"]] == [f"rank {r}" for r in range(3, ranks)]
    assert found["all-reduce"][0][0] == "gradient 3: 3"
    said = figure.layout.title.subtitle.text
    assert "3 faster ranks are left out" in said and "the 8 largest of 10 gradients" in said


def test_without_moments_of_readiness_it_says_how_to_get_them(written):  # noqa: F811
    timeline = read_timeline(written([e for e in TWO_STEPS if e["ph"] != "X"]))
    for draw in (figures.plot_timeline, lambda t: figures.plot_timeline(t, step=1)):
        with pytest.raises(SpecError, match="HOROVOD_CACHE_CAPACITY=0"):
            draw(timeline)


def test_a_recorded_step_names_its_machine_and_has_a_dark_copy():
    figure = figures.plot_timeline(read_timeline(RECORDED), record=fake_record("horovod", 2))
    assert "2 × Example CPU cores" in figure.layout.title.subtitle.text
    assert "copy to or from the buffer" in bars(figure)
    dark = figure.dark()
    assert all(a.marker.color != b.marker.color for a, b in zip(figure.data, dark.data, strict=True))
