"""The step log: what is written, and that its clock adds up."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from dcbench.timing import Diverged, EventFile, StepLog


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_steps_are_written_by_process_and_losses_by_device(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = StepLog(EventFile(path, rank=1), "train", ranks=[2, 3], each_step=True)
    log.start()
    for step in range(3):
        time.sleep(0.002)
        log.add(np.array([[step, step + 0.5]]))
    log.flush()
    steps, second, third = lines(path)
    assert (steps["rank"], steps["index"], len(steps["step_s"])) == (1, 0, 3)
    assert min(steps["step_s"]) >= 0.002
    assert (second["rank"], second["loss"]) == (2, [0, 1, 2])
    assert (third["rank"], third["loss"]) == (3, [0.5, 1.5, 2.5])
    assert log.busy_s >= sum(steps["step_s"])


def test_pauses_do_not_count(tmp_path: Path) -> None:
    log = StepLog(EventFile(tmp_path / "e", 0), "train", [0], each_step=True)
    for _ in range(2):
        log.start()
        log.add(np.zeros((1, 1)))
        log.flush()
        time.sleep(0.05)
    assert log.busy_s < 0.05
    assert [e["index"] for e in lines(tmp_path / "e") if "loss" in e] == [0, 1]


def test_a_window_is_shared_equally_where_the_device_runs_ahead(tmp_path: Path) -> None:
    class Late:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            time.sleep(0.01)
            return np.zeros((2, 1))

    log = StepLog(EventFile(tmp_path / "e", 0), "train", [0], each_step=False)
    log.start()
    log.add(Late())
    log.add(Late())
    log.flush()
    assert len(log.step_s) == 4
    assert len(set(log.step_s)) == 1 and sum(log.step_s) >= 0.02


def test_divergence_keeps_the_finite_steps(tmp_path: Path) -> None:
    log = StepLog(EventFile(tmp_path / "e", 0), "train", [0], each_step=False)
    log.start()
    for value in (1.0, 2.0, float("nan"), 3.0):
        log.add(np.array([[value]]))
    with pytest.raises(Diverged, match=r"nan.*step 2"):
        log.flush()
    assert [e["loss"] for e in lines(tmp_path / "e") if "loss" in e] == [[1.0, 2.0]]


def test_lines_of_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "e"
    writers = [EventFile(path, rank) for rank in range(2)]
    for index in range(200):
        for writer in writers:
            writer.write({"index": index, "fill": "x" * 500}, {"index": index})
    assert len(lines(path)) == 800


def test_a_loss_that_is_no_number_ends_it_at_that_step(tmp_path: Path) -> None:
    log = StepLog(EventFile(tmp_path / "e", 0), "train", [0, 1], each_step=True)
    log.start()
    log.add(np.array([[1.0, 2.0]]))
    with pytest.raises(Diverged, match=r"at step 1 \(train\)"):
        log.add(np.array([[1.0, np.inf]]))
    assert [e["loss"] for e in lines(tmp_path / "e") if "loss" in e] == [[1], [2]]
