"""The training workload end to end: counts, checks that catch planted faults, targets, saved models."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import dcbench
from dcbench import Record, RunSpec


def train(**fields: object) -> Record:
    """Run a small spec and return its record, whatever its status."""
    common = {"model": "mlp", "batch_per_device": 16, "steps": 12, "warmup_max_steps": 20}
    return dcbench.run(RunSpec(**(common | fields))).result(120)


def small_model():
    import keras

    return keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


def without_all_reduce():
    """Plant the fault that stock Horovod has under Keras 3: nothing is averaged."""
    import horovod.tensorflow as hvd
    import keras

    hvd.grouped_allreduce = lambda tensors, **options: tensors
    return keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


def reading_anothers_shard():
    """Plant a rank that reads rank 0's rows."""
    import keras

    from dcbench import datasets

    rows = datasets.Order.rows
    datasets.Order.rows = lambda self, rank, size, start, steps: rows(self, 0, size, start, steps)
    return keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


def with_another_seed():
    """Plant a rank that orders the data by another seed."""
    import horovod.tensorflow as hvd
    import keras

    from dcbench import datasets

    rows = datasets.Order.rows

    def shifted(self, rank, size, start, steps):
        object.__setattr__(self, "seed", 77 + hvd.rank())
        return rows(self, rank, size, start, steps)

    datasets.Order.rows = shifted
    return keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


@pytest.mark.parametrize(
    ("backend", "devices", "processes"),
    [("single", 1, 1), ("mirrored", 2, 1), ("horovod", 2, 2), ("independent", 2, 2)],
)
def test_every_backend_counts_every_example(backend: str, devices: int, processes: int) -> None:
    record = train(backend=backend, devices=devices, model="cnn", steps=15)
    assert record.status == "ok", record.reason
    assert record.step_s.shape == (processes, 15) and (record.step_s > 0).all()
    assert record.rank_loss.shape == (devices, 15) and np.isfinite(record.loss).all()
    slowest = max(w["block_s"] for w in record.workers)
    assert record.metrics["throughput"] == pytest.approx(16 * devices * 15 / slowest)
    assert record.metrics["block_s"] == pytest.approx(slowest)
    assert record.model["parameters"] > 0 and record.model["flops_per_example"] > 0
    assert record.data["source"] in ("bundled", "cache")
    assert record.data["examples_trained"] == 16 * devices * 15
    assert record.metrics["peak_host_bytes"] > 50e6


def numbered():
    """Give each example a number of its own as its target, so that a loss tells which examples were read."""
    import numpy as np

    return np.ones((90, 1), "float32"), np.random.RandomState(0).random((90, 1)).astype("float32")


def silent_model():
    """Predict 0 and learn nothing: the loss of a step is the mean of its squared targets."""
    import keras

    return keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])


@pytest.mark.parametrize(("backend", "devices"), [("single", 1), ("mirrored", 2), ("horovod", 2), ("independent", 2)])
@pytest.mark.parametrize("fields", [{}, {"steps_per_execution": 4, "accumulation": 2}], ids=["plain", "several"])
def test_every_device_reads_its_rows_of_each_global_batch(backend: str, devices: int, fields: dict[str, int]) -> None:
    from dcbench.datasets import Order

    record = train(
        backend=backend, devices=devices, model=silent_model, dataset=numbered, seed=4, learning_rate=1e-30, **fields
    )
    assert record.status == "ok", record.reason
    order, targets = Order(4, 90, 16 * devices), numbered()[1][:, 0].astype("float64")
    expected = [[np.mean(targets[rows] ** 2) for rows in order.rows(r, devices, 0, 12)] for r in range(devices)]
    np.testing.assert_allclose(record.rank_loss, expected, rtol=1e-5)


def test_missing_all_reduce_is_a_failed_run() -> None:
    record = train(model=without_all_reduce, backend="horovod", devices=2)
    assert record.status == "failed"
    assert "gradients were not averaged" in record.reason
    assert "throughput" not in record.metrics


@pytest.mark.parametrize(
    ("fault", "message"),
    [(reading_anothers_shard, "rank 1 read other examples than its share"), (with_another_seed, "different orders")],
)
def test_wrong_share_of_the_data_is_a_failed_run(fault: object, message: str) -> None:
    record = train(model=fault, backend="horovod", devices=2)
    assert record.status == "failed"
    assert message in record.reason


def test_divergence_stops_the_run_and_gives_no_throughput() -> None:
    record = train(learning_rate=1e6, optimizer_args={"momentum": 0.99}, dataset="synthetic", steps=500)
    assert record.status == "diverged"
    assert "loss became" in record.reason and "step" in record.reason
    assert "throughput" not in record.metrics


@pytest.mark.parametrize(("backend", "devices"), [("single", 1), ("mirrored", 2), ("horovod", 2)])
def test_target_accuracy_stops_and_is_timed(backend: str, devices: int) -> None:
    record = train(
        backend=backend, devices=devices, target_accuracy=0.5, evaluate_every=20, steps=2000, learning_rate=0.1
    )
    assert record.status == "ok", record.reason
    assert record.metrics["test_accuracy"] >= 0.5
    assert record.loss.size < 2000
    assert 0 < record.metrics["time_to_target_s"] <= record.metrics["block_s"] * 1.01
    accuracy = record.series("test_accuracy")[0]
    assert accuracy.values[-1] >= 0.5 and all(v < 0.5 for v in accuracy.values[:-1])
    assert accuracy.indices() == list(range(20, record.loss.size + 1, 20))


def test_dropout_masks_differ_between_ranks_and_are_undone_after_warm_up() -> None:
    for backend in ("mirrored", "horovod"):
        record = train(backend=backend, devices=2, model=dropout_model)
        assert "every one of 2 ranks" in record.checks["random_state"]
        again = train(backend=backend, devices=2, model=dropout_model, warmup_max_steps=60, warmup_window=9)
        np.testing.assert_allclose(again.loss, record.loss, rtol=1e-6)


def dropout_model():
    import keras

    layers = keras.layers
    return keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dropout(0.5), layers.Dense(10)])


@pytest.mark.parametrize(
    "settings",
    [
        {"evaluate": True, "steps": 100, "learning_rate": 0.1},
        {"target_accuracy": 1.0, "steps": None, "epochs": 1, "batch_per_device": 128, "learning_rate": 0.5},
    ],
    ids=["at the end", "on the way, and after the short last batch"],
)
def test_saved_model_is_reloaded_and_evaluates_the_same(tmp_path: Path, settings: dict[str, object]) -> None:
    record = train(save_model=True, **settings)
    script = tmp_path / "evaluate.py"
    script.write_text(
        "import sys, keras, numpy as np\n"
        "from pathlib import Path\n"
        "from dcbench import datasets\n"
        "from dcbench.store import cache_dir\n"
        "data = datasets.load('digits', {}, cache_dir(), False, 0, 1)\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "print(float((model.predict(data.test[0], verbose=0).argmax(-1) == data.test[1]).mean()))\n"
    )
    path = Path(record.path) / "model.keras"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, script, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    assert float(done.stdout) == pytest.approx(record.metrics["test_accuracy"], abs=1e-6)


def test_same_seed_same_losses_other_seed_other_losses() -> None:
    first, again, other = train(seed=5), train(seed=5), train(seed=6)
    np.testing.assert_array_equal(first.loss, again.loss)
    assert np.abs(first.loss - other.loss).max() > 1e-3


def raising_model():
    raise ValueError("no such layer")


def test_model_function_that_raises_is_named() -> None:
    record = train(model=raising_model)
    assert record.status == "failed"
    assert "raising_model" in record.reason and "no such layer" in record.reason


def uneven(rank: int, size: int):
    import tensorflow as tf

    count = 100 + rank
    return tf.data.Dataset.from_tensor_slices((tf.zeros((count, 8, 8, 1)), tf.zeros((count,), tf.int32)))


def test_data_function_with_uneven_shards_is_refused() -> None:
    record = train(model=small_model, dataset=uneven, backend="horovod", devices=2)
    assert record.status == "failed"
    assert "100" in record.reason and "101" in record.reason


def unseeded():
    import numpy as np

    random = np.random.default_rng()
    return random.random((64, 8, 8, 1)), random.integers(0, 10, 64)


def same_shard(rank: int, size: int):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((tf.ones((64, 8, 8, 1)), tf.ones((64,), tf.int32)))


def test_data_that_differs_or_repeats_between_ranks_is_caught_or_shown() -> None:
    record = train(model=small_model, dataset=unseeded, backend="horovod", devices=2)
    assert record.status == "failed" and "different examples" in record.reason
    record = train(model=small_model, dataset=same_shard, backend="horovod", devices=2)
    assert record.status == "ok", record.reason
    assert any("same shard" in flag for flag in record.flags)


def test_function_of_a_record_is_described_but_not_stored() -> None:
    record = train(model=small_model)
    assert record.status == "ok", record.reason
    about = record.spec["model"]
    assert about["function"] == "small_model" and "def small_model" in about["source"] and len(about["sha256"]) == 64
    run_dir = Path(record.path)
    assert not [p for p in run_dir.rglob("*") if p.suffix in (".pkl", ".pickle")]


def test_warm_up_compares_windows_and_says_when_they_never_agree() -> None:
    record = train(steps=4, warmup_window=3, warmup_max_steps=9, warmup_tolerance=1e-9)
    assert record.metrics["warmup_steps"] == 2 + 3 * 3
    assert any("cap of 9 steps" in flag for flag in record.flags)
    record = train(steps=4, warmup_window=3, warmup_max_steps=9, warmup_tolerance=1.0, steps_per_execution=2)
    assert record.metrics["warmup_steps"] >= 1 + 2 + 2 * 4
    sizes = [len(s.values) for s in record.series("warmup_step_s")]
    assert sizes == [record.metrics["warmup_steps"]]


@pytest.mark.parametrize(("backend", "devices"), [("mirrored", 2), ("horovod", 2)])
def test_batch_normalisation_is_averaged_over_the_ranks(backend: str, devices: int) -> None:
    """With momentum 0 a moving mean is the mean of the last batch: averaged, that of the whole global batch."""
    from dcbench.datasets import Order

    record = train(
        backend=backend, devices=devices, model=normalised, dataset=scattered, seed=1, save_model=True, steps=5
    )
    assert record.status == "ok", record.reason
    assert record.checks["statistics"].startswith("2 BatchNorm statistics are per rank")
    with zipfile.ZipFile(Path(record.path) / "model.keras") as archive, archive.open("model.weights.h5") as file:
        moving_mean = h5py.File(file)["layers/batch_normalization/vars/2"][()]
    last = scattered()[0][Order(1, 64, 32).ids(4)[0]]
    np.testing.assert_allclose(moving_mean, last.mean(axis=0), rtol=1e-5)


def scattered():
    import numpy as np

    random = np.random.RandomState(7)
    return random.random((64, 3)).astype("float32") * [1.0, 10.0, 100.0], random.randint(0, 4, 64)


def normalised():
    import keras

    layers = keras.layers
    return keras.Sequential([layers.Input((3,)), layers.BatchNormalization(momentum=0.0), layers.Dense(4)])


def test_a_fixed_loss_scale_changes_nothing() -> None:
    plain = train(learning_rate=0.1)
    scaled = train(learning_rate=0.1, optimizer_args={"loss_scale_factor": 1024.0})
    np.testing.assert_allclose(scaled.loss, plain.loss, rtol=1e-6)


@pytest.mark.parametrize(("backend", "devices"), [("single", 1), ("mirrored", 2), ("horovod", 2)])
def test_regression_reaches_the_least_squares_optimum(backend: str, devices: int) -> None:
    """All rows in each step: gradient descent then ends where the normal equations do."""
    from dcbench import datasets
    from dcbench.store import cache_dir

    record = train(
        backend=backend, devices=devices, model="linear", dataset="diabetes", batch_per_device=354 // devices,
        steps=600, learning_rate=0.1, optimizer_args={"momentum": 0.9}, evaluate=True, save_model=True,
    )  # fmt: skip
    assert record.status == "ok", record.reason
    assert record.data["task"] == "regression" and "test_accuracy" not in record.metrics
    data = datasets.load("diabetes", {}, cache_dir())
    rows, test = (np.c_[x, np.ones(len(x))].astype("float64") for x in (data.x, data.test[0]))
    optimum = np.linalg.lstsq(rows, data.y)[0]
    with zipfile.ZipFile(Path(record.path) / "model.keras") as archive, archive.open("model.weights.h5") as file:
        stored = h5py.File(file)["layers/dense/vars"]
        weights = np.concatenate([stored["0"][()], stored["1"][()][None]])
    np.testing.assert_allclose(weights, optimum, atol=1e-5)
    assert record.loss[-1] == pytest.approx(np.mean((rows @ optimum - data.y) ** 2), rel=1e-5)
    assert record.metrics["test_loss"] == pytest.approx(np.mean((test @ optimum - data.test[1]) ** 2), rel=1e-5)


def test_evaluation_without_a_test_split_is_refused() -> None:
    record = train(model=silent_model, dataset=numbered, evaluate=True)
    assert record.status == "failed" and "test split" in record.reason


def test_optimizer_arguments_that_do_not_fit() -> None:
    record = train(optimizer_args={"momentun": 0.9})
    assert record.status == "failed" and "momentun" in record.reason
