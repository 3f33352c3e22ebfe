"""What takes too long for every test run: many runs in one driver, large models, long agreement."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dcbench
from dcbench import Record, RunSpec

pytestmark = pytest.mark.soak
BACKENDS = (("single", 1), ("mirrored", 2), ("horovod", 2), ("independent", 2))


def train(**fields: object) -> Record:
    record = dcbench.run(RunSpec(**fields)).result(1200)
    assert record.status == "ok", record.reason
    return record


APPLICATIONS = {"ResNet50": 32, "VGG16": 32, "MobileNetV2": 32, "EfficientNetB0": 32, "InceptionV3": 75}


@pytest.mark.parametrize("model", APPLICATIONS)
@pytest.mark.parametrize(("backend", "devices"), BACKENDS)
def test_keras_applications_train_on_every_backend(model: str, backend: str, devices: int) -> None:
    record = train(
        model=model,
        dataset="synthetic",
        dataset_args={"shape": [APPLICATIONS[model]] * 2 + [3], "outputs": 10, "examples": 64},
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


PLAIN_SCRIPT = """
import hashlib, horovod.tensorflow as hvd, keras, numpy as np
from dcbench.backends.horovod import BroadcastState, DistributedOptimizer, MetricAverage

hvd.init()
keras.utils.set_random_seed(hvd.rank())
random = np.random.default_rng(hvd.rank())
x, y = random.random((256, 8)), random.random((256, 1))
model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
optimizer = DistributedOptimizer(keras.optimizers.Adam(0.01 * hvd.size(), global_clipnorm=1.0))
model.compile(optimizer, "mse", jit_compile=False)
model.fit(x, y, batch_size=32, epochs=2, verbose=0, callbacks=[BroadcastState(), MetricAverage()])
print("DIGEST", hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest(), flush=True)
"""


def test_a_plain_keras_script_under_horovodrun(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PLAIN_SCRIPT)
    folder = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    command = [str(folder / "horovodrun"), "--gloo", "-np", "2", sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=environment)
    digests = re.findall(r"DIGEST (\w+)", done.stdout)
    assert len(digests) == 2 and digests[0] == digests[1]


def test_digits_reach_ninety_five_percent_on_every_backend() -> None:
    for backend, devices in BACKENDS[:3]:
        record = train(
            model="cnn", global_batch=64, backend=backend, devices=devices, learning_rate=0.1, steps=3000,
            optimizer_args={"momentum": 0.9}, target_accuracy=0.95, evaluate_every=50,
        )  # fmt: skip
        print(f"{backend}: {record.metrics['time_to_target_s']:.2f} s, {record.loss.size} steps")
        assert record.metrics["test_accuracy"] >= 0.95
