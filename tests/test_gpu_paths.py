"""The paths that only machines with GPUs take, with TensorFlow's device functions replaced by fakes.

No number of a GPU comes from here: what is tested is which devices are asked for, and in which order.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dcbench import timing


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Give this process two GPUs that only take notes."""
    import tensorflow as tf

    notes: list[tuple[Any, ...]] = []
    gpus = [SimpleNamespace(name=f"/physical_device:GPU:{i}", device_type="GPU") for i in range(2)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, on: notes.append(("growth", gpu.name[-5:], on))
    )
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *a: notes.append(("visible", *a)))
    monkeypatch.setattr(tf.config, "set_logical_device_configuration", lambda *a: notes.append(("logical", *a)))
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: notes.append(("mirrored", *names)))
    return notes


def test_mirrored_takes_every_gpu_with_memory_growth(asked: list[tuple[Any, ...]]) -> None:
    from dcbench.backends._base import Place
    from dcbench.backends.mirrored import Backend

    Backend(Place(devices=2, gpus=2))
    assert asked == [("growth", "GPU:0", True), ("growth", "GPU:1", True), ("mirrored", "GPU:0", "GPU:1")]


def test_a_tensorflow_that_sees_no_gpu_is_refused_before_it_trains_on_the_cpu(
    asked: list[tuple[Any, ...]],
) -> None:
    from dcbench.backends._base import Place
    from dcbench.backends.mirrored import Backend
    from dcbench.errors import BackendUnavailable

    with pytest.raises(BackendUnavailable, match=r"given 3 GPU\(s\) and TensorFlow sees 2; install its CUDA build"):
        Backend(Place(devices=3, gpus=3))
    assert not asked


def test_one_device_on_a_gpu_hides_nothing_and_sets_no_threads(asked: list[tuple[Any, ...]]) -> None:
    from dcbench.backends._base import Place
    from dcbench.backends.single import Backend

    Backend(Place(gpus=2))
    assert [note[0] for note in asked] == ["growth", "growth"]


SECOND_DEVICE = """
import tensorflow as tf
from dcbench.backends._base import Backend, Place

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
to_device, asked = tf.data.experimental.prefetch_to_device, []

def elsewhere(device, buffer_size):
    asked.append(device)
    return to_device("/device:CPU:1", buffer_size)

tf.data.experimental.prefetch_to_device = elsewhere
Backend._configure = lambda self: None
batches = Backend(Place(gpus=1)).iterator(tf.data.Dataset.range(6).batch(2))
assert asked == ["/device:GPU:0"] and next(batches).device.endswith("CPU:1")
step = tf.function(lambda iterator: next(iterator) * 2, autograph=False)
assert [step(batches).numpy().tolist() for _ in range(2)] == [[4, 6], [8, 10]]
"""


def test_batches_are_copied_to_the_device_ahead_of_their_step() -> None:
    """A second logical CPU device stands in for the GPU."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", SECOND_DEVICE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def test_horovod_refuses_a_place_that_is_not_its_own(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hvd = pytest.importorskip("horovod.tensorflow", reason="Horovod is not built here")
    from dcbench.backends._base import CheckFailed, Place
    from dcbench.backends.horovod import Backend

    for name, value in (("init", None), ("rank", 1), ("size", 2)):
        monkeypatch.setattr(hvd, name, lambda value=value: value)
    Backend(Place(rank=1, size=2, gpus=1))
    with pytest.raises(CheckFailed, match="another job has joined"):
        Backend(Place(rank=0, size=2, gpus=1))


def test_steps_on_a_gpu_are_waited_for_once_a_batch(tmp_path: Path) -> None:
    """Asking for a result is what waits for a GPU: in a window it happens at the flush, in step mode at each step."""
    waits: list[str] = []

    class OnDevice:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            waits.append("wait")
            return np.ones((1, 1))

    with contextlib.closing(timing.EventFile(tmp_path / "events.jsonl", 0)) as events:
        window = timing.StepLog(events, "train", [0], each_step=False)
        window.start()
        window.add(OnDevice())
        window.add(OnDevice())
        assert not waits
        window.flush()
        assert len(waits) == 2
        stepwise = timing.StepLog(events, "train", [0], each_step=True)
        stepwise.start()
        stepwise.add(OnDevice())
        assert len(waits) == 3
