"""What takes too long for every test run: many runs in one driver, large models, long agreement."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import psutil
import pytest

import dcbench
from dcbench import Record, RunSpec

pytestmark = pytest.mark.soak
BACKENDS = (("single", 1), ("mirrored", 2), ("horovod", 2), ("independent", 2))


def train(**fields: object) -> Record:
    record = dcbench.run(RunSpec(**fields)).result(1200)
    assert record.status == "ok", record.reason
    return record


def test_two_hundred_runs_leave_nothing_behind() -> None:
    me = psutil.Process()
    marks: list[tuple[int, int, int]] = []
    for number in range(200):
        backend, devices = BACKENDS[number % 4]
        train(model="linear", backend=backend, devices=devices, steps=5, warmup_max_steps=10)
        if number in (19, 199):
            engines = me.children(recursive=True)
            marks.append((len(os.listdir("/proc/self/fd")), len(engines), me.memory_info().rss))
    (files, processes, memory), (files_after, processes_after, memory_after) = marks
    print(f"descriptors {files} -> {files_after}, processes {processes} -> {processes_after}, "
          f"driver {memory / 1e6:.0f} -> {memory_after / 1e6:.0f} MB")  # fmt: skip
    assert files_after <= files and processes_after <= processes
    assert memory_after < memory * 1.1 + 5e6


@pytest.mark.parametrize("model", ["ResNet50", "VGG16", "MobileNetV2"])
@pytest.mark.parametrize(("backend", "devices"), BACKENDS)
def test_keras_applications_train_on_every_backend(model: str, backend: str, devices: int) -> None:
    record = train(
        model=model,
        dataset="synthetic",
        dataset_args={"shape": [32, 32, 3], "outputs": 10, "examples": 64},
        backend=backend,
        devices=devices,
        batch_per_device=4,
        steps=3,
        warmup_window=2,
        warmup_max_steps=6,
        save_model=True,
    )
    assert np.isfinite(record.rank_loss).all() and record.rank_loss.shape == (devices, 3)
    assert record.model["gradient_bytes"] == 4 * record.model["trainable_parameters"]
    assert (Path(record.path) / "model.keras").stat().st_size > record.model["gradient_bytes"]


@pytest.mark.parametrize(("backend", "devices"), BACKENDS[1:3])
def test_a_thousand_steps_stay_together(backend: str, devices: int) -> None:
    common = {"model": "mlp", "global_batch": 64, "steps": 1000, "learning_rate": 0.05}
    one, many = train(**common), train(**common, backend=backend, devices=devices)
    print(f"{backend}: largest relative distance of losses {np.max(np.abs(many.loss / one.loss - 1)):.1e}")
    np.testing.assert_allclose(many.loss, one.loss, rtol=1e-4)


def test_digits_reach_ninety_five_percent_on_every_backend() -> None:
    for backend, devices in BACKENDS[:3]:
        record = train(
            model="cnn", global_batch=64, backend=backend, devices=devices, learning_rate=0.1, steps=3000,
            optimizer_args={"momentum": 0.9}, target_accuracy=0.95, evaluate_every=50,
        )  # fmt: skip
        print(f"{backend}: {record.metrics['time_to_target_s']:.2f} s, {record.loss.size} steps")
        assert record.metrics["test_accuracy"] >= 0.95
