"""The figure of one run: its losses, the throughput of each step, and what it must not hide."""

import dataclasses

import pytest
from fake_records import fake_record

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.figures.run import MOST_STEPS, step_rates
from dcbench.record import Series


def series(*values, phase="step_s"):
    return [Series(r, "h", phase, 0, list(v)) for r, v in enumerate(values)]


def named(figure, name):
    return next(t for t in figure.data if t.name == name)


def test_the_slowest_process_sets_the_rate_of_a_step():
    assert step_rates(series([0.5, 1.0, 1.0], [1.0, 0.25]), 64).tolist() == [64.0, 64.0]
    assert step_rates([], 64).size == 0


def test_losses_and_rates_are_those_of_the_record():
    record = fake_record("horovod", 2)
    figure = figures.plot_run(record)
    assert list(named(figure, "loss").y) == pytest.approx(record.loss, rel=1e-5)
    assert list(named(figure, "timed steps").y) == pytest.approx(64 / record.step_s.max(axis=0), rel=1e-5)
    assert list(named(figure, "timed steps").x) == list(range(1, 41))
    assert set(named(figure, "whole run").y) == {record.metrics["throughput"]}
    assert f"{record.metrics['throughput']:,.0f} examples/s over the whole run" in figure.layout.annotations[1].text
    assert figure.layout.title.text == "One run: cnn on digits, horovod × 2"


def test_warm_up_ends_before_the_first_step_and_outliers_are_crossed():
    times = [0.01 + 0.0001 * (k % 5) for k in range(40)]
    times[7] = 1.0
    losses = [s for s in fake_record().samples if s.phase == "loss"]
    samples = losses + series(times) + series([2.0, 0.02, 0.01], phase="warmup_step_s")
    figure = figures.plot_run(dataclasses.replace(fake_record(), samples=samples))
    assert list(named(figure, "warm-up").x) == [-2, -1, 0]
    assert list(named(figure, "warm-up").y) == [16.0, 1600.0, 3200.0]
    crossed = [k for k, s in enumerate(named(figure, "timed steps").marker.symbol) if s != "circle"]
    assert crossed == [7]


def test_of_a_long_run_only_so_many_steps_are_drawn():
    count = 10 * MOST_STEPS
    samples = series([0.01] * count) + series([1.0] * count, phase="loss")
    figure = figures.plot_run(dataclasses.replace(fake_record(), samples=samples))
    assert len(named(figure, "loss").x) + len(named(figure, "timed steps").x) <= figures.MAX_MARKS
    assert named(figure, "loss").x[-1] == count
    assert "900 of 9,000 steps are drawn" in figure.layout.title.subtitle.text


def test_a_run_that_failed_has_nothing_to_draw():
    with pytest.raises(SpecError, match=r"has no losses to draw \(failed: rank 1 was ended by SIGKILL\)"):
        figures.plot_run(fake_record(status="failed"))
