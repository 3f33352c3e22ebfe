"""What the engine asks of a backend, answered for one device in one process; other backends override parts of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from dcbench.errors import BackendUnavailable


@dataclass(frozen=True)
class Place:
    """
    Where one worker process stands.

    Parameters
    ----------
    rank, size : int
        This process among the run's processes.
    devices : int
        Devices of this process.
    gpus : int
        GPUs that this process sees; 0 where its devices are CPU cores.
    threads_per_device : int
        CPU cores of one device; with GPUs 1 leaves TensorFlow's own choice.
    run_dir : str
        Where processes without communication can meet.
    compression : str
        ``"none"`` or ``"fp16"``.
    """

    rank: int = 0
    size: int = 1
    devices: int = 1
    gpus: int = 0
    threads_per_device: int = 1
    run_dir: str = "."
    compression: str = "none"


class CheckFailed(Exception):
    """A distributed run did not prove that its ranks hold equal weights or read their own data."""


class Backend:
    """One device in one process, and the protocol of all backends."""

    communicates = False  # whether ranks end with equal weights, which is then proved

    def __init__(self, place: Place) -> None:
        self.place = place
        self._configure()

    def _configure(self) -> None:
        place = self.place
        if place.gpus:
            self._configure_gpus()
            return
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(place.threads_per_device * place.devices)
        tf.config.threading.set_inter_op_parallelism_threads(place.devices)

    def _configure_gpus(self) -> None:
        found = tf.config.list_physical_devices("GPU")
        if len(found) < self.place.gpus:
            raise BackendUnavailable(
                f"this run was given {self.place.gpus} GPU(s) and TensorFlow sees {len(found)}; install its CUDA build "
                "(make setup GPU=1), or choose device_type='cpu'"
            )
        for gpu in found:
            tf.config.experimental.set_memory_growth(gpu, True)
        if self.place.threads_per_device > 1:
            tf.config.threading.set_intra_op_parallelism_threads(self.place.threads_per_device * self.place.devices)

    @property
    def shard(self) -> tuple[int, int]:
        """Which part of the global batch this process reads, and into how many parts it is cut."""
        return self.place.rank, self.place.size

    @property
    def ranks(self) -> list[int]:
        """Numbers of the devices of this process among all devices of the run."""
        return [self.place.rank]

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which variables are created."""
        return contextlib.nullcontext()

    def optimizer(self, optimizer: keras.Optimizer) -> keras.Optimizer:
        """Return the optimizer, ready to be given gradients that are already averaged over ranks."""
        return optimizer

    def iterator(self, dataset: tf.data.Dataset) -> Any:
        """Return an iterator over this process's batches, usable inside a `tf.function`.

        On a GPU they are copied there ahead of their step, as `MirroredStrategy` does by itself.
        """
        if self.place.gpus:
            dataset = dataset.apply(tf.data.experimental.prefetch_to_device("/device:GPU:0", buffer_size=2))
        return iter(dataset)

    def hand_out(self, values: list[Any]) -> Any:
        """Hand one value to each device of this process; `run` unpacks them."""
        return values[0]

    def run(self, step: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Call the step once on every device of this process."""
        return step(*args)

    def local(self, value: Any) -> tuple[tf.Tensor, ...]:
        """Return the results of `run`, one a device of this process."""
        return (value,)

    def reduce(self, gradients: list[Any]) -> list[Any]:
        """Average gradients over all ranks, sparse ones with unique indices.

        It is called inside the step, before clipping and overflow checks.
        """
        return [merge_duplicates(g) for g in gradients]

    def synchronise(self, model: keras.Model, optimizer: keras.Optimizer) -> None:
        """Give every rank rank 0's weights and optimizer state, and its own dropout masks."""

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, by rank."""
        return [value]

    def barrier(self, name: str) -> None:
        """Wait until every process has come here."""

    def average_statistics(self, model: keras.Model) -> None:
        """Average what each rank has measured for itself, such as BatchNorm's moving statistics."""

    def check_weights(self, model: keras.Model, optimizer: keras.Optimizer) -> dict[str, Any]:
        """
        Prove that all ranks hold equal trainable variables and optimizer state, bit for bit.

        Raises
        ------
        CheckFailed
            Naming the first variables that differ and by how much; or if there are several devices, and a backend does
            not say whether theirs are equal.
        """
        if (devices := self.place.size * self.place.devices) > 1:
            raise CheckFailed(
                f"this backend ran on {devices} devices and does not say whether their weights are equal; "
                "give it a check_weights of its own, or run it with devices=1"
            )
        return {"weights": "one device, nothing to compare"}


def state_variables(model: keras.Model, optimizer: keras.Optimizer) -> list[Any]:
    """Return what equal ranks must have equal: trainable variables and optimizer state."""
    return [*model.trainable_variables, *optimizer.variables]


def seed_variables(model: keras.Model) -> list[Any]:
    """Return the states of the random generators inside a model (dropout, augmentation)."""
    weights = {id(v) for v in model.weights}
    return [v for v in model.variables if id(v) not in weights]


def statistics_note(model: keras.Model, ranks: int) -> str:
    """Say how BatchNorm's moving statistics of several ranks were treated."""
    count = len(statistics_variables(model))
    return (
        f"{count} BatchNorm statistics are per rank while training, averaged over {ranks} at its end"
        if count
        else "none"
    )


def statistics_variables(model: keras.Model) -> list[Any]:
    """Return floating-point weights that training measures rather than optimises (BatchNorm's moments)."""
    return [v for v in model.non_trainable_weights if "float" in str(v.dtype)]


def merge_duplicates(gradient: Any) -> Any:
    """Return an `IndexedSlices` whose indices are unique, so that its norm is the gradient's norm."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    indices, position = tf.unique(tf.reshape(gradient.indices, [-1]))
    values = tf.math.unsorted_segment_sum(gradient.values, position, tf.size(indices))
    return tf.IndexedSlices(values, indices, gradient.dense_shape)


def differences(names: list[str], digests: list[list[str]]) -> list[str]:
    """Name the variables whose digests are not the same on every rank."""
    return [n for i, n in enumerate(names) if len({d[i] for d in digests}) > 1]
