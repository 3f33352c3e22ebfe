"""The figure of a run as it stands: what its panels show and say, at any moment of the run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fake_records import fake_record

from dcbench import figures
from dcbench.figures.live import MEMORY, MOST_RANKS, RATE, live_parts
from dcbench.record import Record, Series
from dcbench.watching import Use, Watch

GIB = 2**30


def named(figure: figures.Figure, name: str):
    return next(t for t in figure.data if t.name == name)


def headings(figure: figures.Figure) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def record_of(step_s: list[list[float]], **fields) -> Record:
    """Make a record of ranks with these step times."""
    samples = [Series(r, "h", "step_s", 0, list(v)) for r, v in enumerate(step_s)]
    samples += [Series(r, "h", "loss", 0, [float(r)] * len(v)) for r, v in enumerate(step_s)]
    made = fake_record("horovod", 2)
    spec = made.spec | {"devices": len(step_s), "global_batch": 32 * len(step_s)}
    return dataclasses.replace(made, **({"samples": samples, "spec": spec, "metrics": {}} | fields))


def test_losses_rates_and_step_times_are_those_of_the_run() -> None:
    record = fake_record("horovod", 2)
    record.workers = [{"rank": r, "peak_host_bytes": (1 + r) * GIB} for r in range(2)]
    figure = figures.plot_live(record)
    assert named(figure, "training loss").y == pytest.approx(record.loss)
    assert list(named(figure, "training loss").x) == list(range(1, 41))
    assert named(figure, "rank 1").y == pytest.approx(1e3 * record.step_s[1])
    slow = record.step_s[np.argmax(record.step_s.sum(axis=1))]
    assert named(figure, "throughput").x[-1] == pytest.approx(slow.sum())
    assert list(named(figure, "host memory").x) == [1, 2] and list(named(figure, "host memory").y) == [
        "rank 0",
        "rank 1",
    ]
    assert figure.layout.title.text == "One run: cnn on digits, horovod × 2"
    assert headings(figure) == [
        "Training loss, mean of devices",
        f"Throughput: {record.metrics['throughput']:,.0f} examples/s",
        "Step time by rank",
        "Peak memory by rank",
    ]
    under = figure.layout.title.subtitle.text
    assert under.startswith("2 × Example CPU cores · TensorFlow 2.21.0") and "not a data centre" in under


def test_a_straggler_is_named_above_its_panel() -> None:
    figure = figures.plot_live(record_of([[0.1] * 9, [0.1] * 9, [0.15] * 9]))
    assert headings(figure)[2] == "Step time: rank 2 is 1.5 × the others"


def test_tests_are_points_with_the_last_accuracy_above() -> None:
    watch = Watch(fake_record())
    watch.tests = [(20, 0.5, 0.875), (40, 0.25, 0.9375)]
    figure = figures.plot_live(watch)
    assert (list(named(figure, "test loss").x), list(named(figure, "test loss").y)) == ([20, 40], [0.5, 0.25])
    assert headings(figure)[0] == "Training loss, ◇ test (accuracy 0.938)"


def test_before_the_first_step_there_is_a_figure_too() -> None:
    figure = figures.plot_live(record_of([], spec=fake_record().spec, samples=[]))
    assert headings(figure)[1:] == ["Throughput, higher is better", "Step time", "Peak memory: not known"]
    assert len(named(figure, "training loss").x) == 0


def test_memory_is_that_of_now_while_it_runs_and_of_gpus_too() -> None:
    watch = Watch(fake_record("horovod", 2))
    watch.record = None  # as before its end
    assert live_parts(watch)[1][MEMORY] == "Memory by rank: not known yet"
    parts, said = live_parts(watch, [Use(0, GIB, 0.5, 3 * GIB, 0.9), Use(1, 2 * GIB, 0.5, 4 * GIB, 0.8)])
    bars = {trace["name"]: trace["x"] for panel, trace in parts if panel == MEMORY}
    assert bars == {"host memory": [1.0, 2.0], "GPU memory": [3.0, 4.0]}
    assert said[MEMORY] == "Memory by rank, now" and said[RATE].startswith("Throughput: ")


def test_of_many_ranks_the_slowest_is_among_the_few_drawn() -> None:
    figure = figures.plot_live(record_of([[0.1] * 5] * 40 + [[0.3] * 5] + [[0.1] * 5] * 23))
    drawn = [t.name for t in figure.data if t.name.startswith("rank")]
    assert len(drawn) <= MOST_RANKS and {"rank 0", "rank 40", "rank 63"} <= set(drawn)


def test_a_long_run_is_drawn_in_few_points() -> None:
    figure = figures.plot_live(record_of([[0.01] * 50_000] * 2))
    assert sum(len(t.x) for t in figure.data) <= figures.MAX_MARKS
    assert named(figure, "rank 0").x[-1] == pytest.approx(50_000, rel=0.01)


def test_how_it_ended_is_told_and_markup_stays_text() -> None:
    bad = "<img src=x onerror=alert(1)>"
    record = fake_record(status="failed")
    record.reason, record.spec["model"], record.machine = bad, bad, {"name": bad}
    figure = figures.plot_live(record)
    assert "failed: " in figure.layout.title.subtitle.text
    assert "<img" not in str(figure.to_dict()).lower()
    assert "<" not in figure.layout.title.text
