"""`tf.distribute.MirroredStrategy`: one process, all its GPUs, or logical devices on its CPU cores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from dcbench.backends import _base


class Backend(_base.Backend):
    """Replicas in one process; gradients are averaged before they are clipped, unlike in Keras's own trainer."""

    communicates = True

    def _configure(self) -> None:
        super()._configure()
        if self.place.gpus:
            names = [f"GPU:{i}" for i in range(self.place.devices)]
        else:
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * self.place.devices
            )
            names = [f"CPU:{i}" for i in range(self.place.devices)]
        self.strategy = tf.distribute.MirroredStrategy(names)

    @property
    def ranks(self) -> list[int]:
        """Replicas are the ranks."""
        return list(range(self.place.devices))

    def scope(self) -> Any:
        """Return the strategy's scope."""
        return self.strategy.scope()

    def optimizer(self, optimizer: keras.Optimizer) -> keras.Optimizer:
        """Keep Keras from summing gradients that `reduce` has already averaged."""
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if not hasattr(inner, "_all_reduce_sum_gradients"):
            raise _base.CheckFailed(
                f"Keras {keras.__version__} reduces gradients in a way that dcbench does not know; use Keras 3.15"
            )
        inner._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
        return optimizer

    def iterator(self, dataset: tf.data.Dataset) -> Any:
        """Cut each global batch into contiguous rows, replica r taking rows r·B … (r+1)·B."""
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return iter(self.strategy.experimental_distribute_dataset(dataset.with_options(options)))

    def hand_out(self, values: list[Any]) -> Any:
        """Hand the r-th value to replica r."""
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: values[context.replica_id_in_sync_group]
        )

    def run(self, step: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run the step on every replica."""
        return self.strategy.run(step, args=args)

    def local(self, value: Any) -> tuple[tf.Tensor, ...]:
        """Return the replicas' values in order."""
        return tuple(self.strategy.experimental_local_results(value))

    def reduce(self, gradients: list[Any]) -> list[Any]:
        """Average gradients over the replicas."""
        context = tf.distribute.get_replica_context()
        return super().reduce(context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients))

    def synchronise(self, model: keras.Model, optimizer: keras.Optimizer) -> None:
        """Give each replica its own dropout masks; the strategy itself has made the weights equal."""
        for variable in _base.seed_variables(model):
            copies = self.strategy.experimental_local_results(variable.value)
            for replica, copy in enumerate(copies):
                copy.assign(copy + tf.constant([replica, 0], copy.dtype))

    def average_statistics(self, model: keras.Model) -> None:
        """Average BatchNorm's moving statistics, which each replica measured on its own rows."""
        for variable in _base.statistics_variables(model):
            copies = self.strategy.experimental_local_results(variable.value)
            mean = tf.add_n([c.read_value() for c in copies]) / len(copies)
            for copy in copies:
                copy.assign(mean)

    def check_weights(self, model: keras.Model, optimizer: keras.Optimizer) -> dict[str, Any]:
        """Compare the replicas' copies of each variable."""
        variables = _base.state_variables(model, optimizer)
        copies = [self.strategy.experimental_local_results(v.value) for v in variables]
        digests = [
            [hashlib.sha256(c[r if len(c) > 1 else 0].numpy().tobytes()).hexdigest() for c in copies]
            for r in range(self.place.devices)
        ]
        names = [v.path for v in variables]
        if differing := _base.differences(names, digests):
            raise _base.CheckFailed(
                f"the {self.place.devices} replicas hold different values of {', '.join(differing[:3])} "
                f"({len(differing)} of {len(names)} variables); the result is not a correct distributed training"
            )
        return {
            "weights": f"equal bit for bit on {self.place.devices} replicas ({len(names)} variables)",
            "statistics": _base.statistics_note(model, self.place.devices),
        }
