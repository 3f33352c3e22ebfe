"""Horovod's parts for plain Keras scripts, run in real ranks, against one process with the whole batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dcbench
from dcbench import RunSpec

CASES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "SGD", "args": {"learning_rate": 0.1, "momentum": 0.9}},
    "adam_clipped": {"optimizer": "Adam", "args": {"learning_rate": 0.01, "global_clipnorm": 0.1}},
    "accumulated": {
        "optimizer": "Adam",
        "args": {"learning_rate": 0.01, "gradient_accumulation_steps": 2, "global_clipnorm": 0.1},
    },
    "embedding": {"optimizer": "Adam", "args": {"learning_rate": 0.01, "global_clipnorm": 0.1}, "sparse": True},
    "loss_scaled": {"optimizer": "SGD", "args": {"learning_rate": 0.1}, "scaled": True},
}


def fit_in_ranks(case: dict[str, Any], folder: Path, ranks: int, wrap: str = "ours") -> list[dict[str, Any]]:
    """Train a plain Keras model with `model.fit` in each of `ranks` Horovod processes; return what each ended with."""
    target = str(folder)

    def script():
        import json
        from pathlib import Path

        import horovod.tensorflow as hvd
        import keras
        import numpy as np

        from dcbench.backends.horovod import (
            BroadcastState,
            DistributedOptimizer,
            LearningRateWarmup,
            MetricAverage,
        )

        rank, size, layers = hvd.rank(), hvd.size(), keras.layers
        stock_one = wrap == "stock"  # its variables cannot be read under Keras 3, so its ranks begin equal
        keras.utils.set_random_seed(1 if stock_one else 1 + rank)  # ours begin apart; the broadcast must mend it
        random = np.random.default_rng(0)
        x, y = random.integers(0, 9, (320, 6)).astype("float32"), random.integers(0, 3, 320)
        first = [layers.Embedding(9, 4), layers.Flatten()] if case.get("sparse") else [layers.Rescaling(0.1)]
        model = keras.Sequential([layers.Input((6,)), *first, layers.Dense(8, "tanh"), layers.Dense(3)])
        optimizer = getattr(keras.optimizers, case["optimizer"])(**case["args"])
        if case.get("scaled"):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        if stock_one:
            import horovod.tensorflow.keras as stock

            optimizer = stock.DistributedOptimizer(optimizer)
        else:
            optimizer = DistributedOptimizer(optimizer)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
        rates = []
        callbacks = [] if stock_one else [BroadcastState(), MetricAverage()]
        if case.get("warmup"):
            callbacks += [
                LearningRateWarmup(0.4, 5),
                keras.callbacks.LambdaCallback(
                    on_train_batch_end=lambda batch, logs: rates.append(float(model.optimizer.learning_rate))
                ),
            ]
        rows = np.arange(320).reshape(-1, size, 16 // size)[:, rank].ravel()  # rows r·B … of each batch of 16
        history = model.fit(
            x[rows], y[rows], batch_size=16 // size, epochs=2, shuffle=False, verbose=0, callbacks=callbacks
        )
        found = {
            "weights": [w.tolist() for w in model.get_weights()],
            "accuracy": history.history["accuracy"],
            "loss": history.history["loss"],
            "rates": rates,
        }
        Path(target, f"rank-{rank}.json").write_text(json.dumps(found))
        return keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])

    folder.mkdir(parents=True, exist_ok=True)
    spec = RunSpec(model=script, backend="horovod", devices=ranks, steps=2, warmup_max_steps=10)
    record = dcbench.run(spec).result(120)
    assert record.status == "ok", record.reason
    return [json.loads((folder / f"rank-{r}.json").read_text()) for r in range(ranks)]


def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Return the largest relative distance of two lists of weights, tensor by tensor."""
    pairs = zip(a["weights"], b["weights"], strict=True)
    return max(float(np.linalg.norm(np.subtract(v, w)) / np.linalg.norm(v)) for v, w in pairs)


@pytest.mark.parametrize("name", CASES)
def test_fit_on_two_ranks_is_fit_on_one(name: str, tmp_path: Path) -> None:
    (one,) = fit_in_ranks(CASES[name], tmp_path / "one", 1)
    two = fit_in_ranks(CASES[name], tmp_path / "two", 2)
    assert two[0]["weights"] == two[1]["weights"]
    assert distance(one, two[0]) < 1e-4
    assert two[0]["loss"] == two[1]["loss"] and two[0]["accuracy"] == two[1]["accuracy"]
    np.testing.assert_allclose(two[0]["accuracy"], one["accuracy"], atol=0.02)


def test_the_stock_optimizer_averages_nothing(tmp_path: Path) -> None:
    """The reason why ours exists; should a release of Horovod mend it, this test says so."""
    two = fit_in_ranks(CASES["sgd"], tmp_path, 2, wrap="stock")
    assert distance(two[0], two[1]) > 1e-3


def test_learning_rate_rises_from_a_rank_s_share(tmp_path: Path) -> None:
    two = fit_in_ranks(CASES["sgd"] | {"warmup": True}, tmp_path, 2)
    assert two[0]["rates"][:7] == pytest.approx([0.2, 0.24, 0.28, 0.32, 0.36, 0.4, 0.4])


def fit_unequal_parts():
    """Train with 129 examples on two ranks: three batches and two; the first would wait for ever."""
    import horovod.tensorflow as hvd
    import keras
    import numpy as np

    from dcbench.backends.horovod import BroadcastState, DistributedOptimizer

    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile(DistributedOptimizer(keras.optimizers.SGD(0.01)), "mse", jit_compile=False)
    x = np.ones((129, 3))[hvd.rank() :: hvd.size()]
    model.fit(x, x.sum(1), verbose=0, callbacks=[BroadcastState()])
    return model


def test_ranks_with_unlike_batches_are_refused_before_they_hang() -> None:
    spec = RunSpec(model=fit_unequal_parts, backend="horovod", devices=2, steps=2, time_limit_s=60)
    record = dcbench.run(spec).result(120)
    assert record.status == "failed"
    assert "the ranks have 3, 2 batches an epoch" in record.reason


def reload_a_compiled_model():
    """Save and reload a model compiled with our optimizer; a failure in here is a failed run."""
    import tempfile
    from pathlib import Path

    import keras

    from dcbench.backends.horovod import DistributedOptimizer

    model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(DistributedOptimizer(keras.optimizers.Adam(0.01)), "mse", jit_compile=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        reloaded = keras.saving.load_model(path, safe_mode=True)
    assert type(reloaded.optimizer) is keras.optimizers.Adam
    return model


def test_a_compiled_model_is_reloaded_with_the_plain_optimizer() -> None:
    record = dcbench.run(RunSpec(model=reload_a_compiled_model, backend="horovod", devices=2, steps=2)).result(120)
    assert record.status == "ok", record.reason
