"""Distributed training computes what one device computes: same seed, same global batch, same weights."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import dcbench
from dcbench import Record, RunSpec

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "optimizer_args": {"momentum": 0.9}, "learning_rate": 0.05},
    "adam": {"optimizer": "adam", "learning_rate": 0.001},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.01},
}
VARIANTS = {
    "plain": {},
    "clipped": {"global_clipnorm": 0.2},
    "accumulated": {"accumulation": 4},
    "both": {"clipnorm": 0.05, "accumulation": 2},
}
PLACES = ({"backend": "mirrored", "devices": 2}, {"backend": "horovod", "devices": 2})


def weights(run: Record) -> dict[str, np.ndarray]:
    """Read the saved weights of a run, without TensorFlow."""
    path = Path(run.path) / "model.keras"
    found: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file, h5py.File(file) as h5:
        h5.visititems(lambda n, d: found.update({n: d[()]}) if isinstance(d, h5py.Dataset) else None)
    return {n: v for n, v in found.items() if v.size}


def train(**fields: object) -> Record:
    """Run 20 steps with a global batch of 64 and return its record, which must be ok."""
    common = {"model": "mlp", "global_batch": 64, "steps": 20, "seed": 3, "save_model": True}
    spec = RunSpec(**(common | fields))
    record = dcbench.run(spec).result(120)
    assert record.status == "ok", record.reason
    return record


def assert_equal(one: Record, many: Record, tolerance: float = 1e-5) -> None:
    """Assert that two runs ended with the same weights and saw the same losses."""
    expected, found = weights(one), weights(many)
    assert expected.keys() == found.keys() and expected
    for name, value in expected.items():
        assert np.linalg.norm(value - found[name]) <= tolerance * np.linalg.norm(value), name
    np.testing.assert_allclose(many.loss, one.loss, rtol=tolerance)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_devices_train_like_one(optimizer: str, variant: str) -> None:
    fields = OPTIMIZERS[optimizer] | VARIANTS[variant]
    one = train(**fields)
    for place in PLACES:
        many = train(**fields, **place)
        assert_equal(one, many)
        assert many.data["order_sha256"] == one.data["order_sha256"]
        assert many.rank_loss.shape == (2, 20)
        assert np.abs(many.rank_loss[0] - many.rank_loss[1]).max() > 1e-3  # each saw its own rows


def embedding_model():
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Rescaling(16.0),
            layers.Embedding(17, 4),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "sgd", "learning_rate": 0.1},
        {"optimizer": "sgd", "learning_rate": 0.1, "global_clipnorm": 0.1},
        {"optimizer": "adam", "learning_rate": 0.01},
        {"optimizer": "adamw", "learning_rate": 0.01, "accumulation": 4},
    ],
    ids=["sgd", "clipped", "adam", "accumulated"],
)
def test_sparse_gradients(fields: dict[str, object]) -> None:
    one = train(model=embedding_model, **fields)
    for place in PLACES:
        assert_equal(one, train(model=embedding_model, **fields, **place))


def tokens():
    import numpy as np

    random = np.random.RandomState(0)
    x = random.randint(0, 17, (256, 12))
    return x, (x[:, 0] + x[:, -1]) % 5


@pytest.mark.parametrize("model", ["rnn", "transformer"])
@pytest.mark.parametrize(
    ("fields", "others"),
    [
        (OPTIMIZERS["sgd"], PLACES),
        (OPTIMIZERS["adam"] | {"dataset": tokens, "model_args": {"vocabulary": 17}}, PLACES),
        (OPTIMIZERS["sgd"], [{"jit_compile": True}]),
    ],
    ids=["sgd", "tokens-adam", "xla"],
)
def test_sequence_models(model: str, fields: dict[str, object], others: list[dict[str, object]]) -> None:
    one = train(model=model, **fields)
    for other in others:
        assert_equal(one, train(model=model, **fields, **other))


def test_short_tail_of_an_epoch_counts_by_its_true_size() -> None:
    fields = {"epochs": 1, "steps": None, "global_batch": 200, "accumulation": 2, "lr_schedule": "cosine"}
    one = train(**fields)
    assert one.data["tail_examples"] == one.data["examples"] % 200 > 0
    assert one.data["examples_trained"] == one.data["examples"]
    for place in PLACES:
        assert_equal(one, train(**fields, **place))


@pytest.mark.parametrize(
    "fields",
    [{"jit_compile": True}, {"steps_per_execution": 5}, {"lr_schedule": "cosine"}],
    ids=["xla", "steps_per_execution", "schedule"],
)
def test_ways_of_execution_agree(fields: dict[str, object]) -> None:
    one = train(**({} if "lr_schedule" not in fields else fields))
    for place in ({}, *PLACES):
        assert_equal(one, train(**fields, **place))


def test_loss_scaling_and_compression_stay_close() -> None:
    """Half precision rounds differently per batch split: losses agree, and ranks still agree to the bit."""
    for model, places in (("mlp", PLACES), ("rnn", PLACES[1:]), ("transformer", PLACES[:1])):
        one = train(model=model, precision="mixed_float16")
        for place in places:
            many = train(model=model, precision="mixed_float16", **place)
            np.testing.assert_allclose(many.loss, one.loss, rtol=5e-3)
    full = train(backend="horovod", devices=2)
    compressed = train(backend="horovod", devices=2, compression="fp16")
    np.testing.assert_allclose(compressed.loss, full.loss, rtol=1e-3)
    assert not np.array_equal(compressed.loss, full.loss)
