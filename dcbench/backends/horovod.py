"""Horovod for Keras 3: one process a device, gradients averaged by all-reduce before anything looks at them.

Its parts work alone in any Keras script started by ``horovodrun`` (compile with ``jit_compile=False``)::

    from dcbench.backends.horovod import BroadcastState, DistributedOptimizer, MetricAverage

    hvd.init()
    model.compile(DistributedOptimizer(keras.optimizers.SGD(0.01 * hvd.size())), "mse", jit_compile=False)
    model.fit(x, y, callbacks=[BroadcastState(), MetricAverage()])
"""

from __future__ import annotations

import hashlib
from typing import Any

import horovod.tensorflow as hvd
import keras
import numpy as np
import tensorflow as tf

from dcbench.backends import _base
from dcbench.backends._keras_horovod import (
    BroadcastState,
    DistributedOptimizer,
    LearningRateWarmup,
    MetricAverage,
    average_gradients,
    broadcast_state,
)

ONE_PROCESS_A_DEVICE = True
MEETS_BY_HOROVOD = True

__all__ = [
    "Backend",
    "BroadcastState",
    "DistributedOptimizer",
    "LearningRateWarmup",
    "MetricAverage",
    "average_gradients",
    "broadcast_state",
]


class Backend(_base.Backend):
    """One process a device; Horovod averages gradients between them."""

    communicates = True

    def _configure(self) -> None:
        super()._configure()
        hvd.init()
        if (hvd.rank(), hvd.size()) != (self.place.rank, self.place.size):
            raise _base.CheckFailed(
                f"Horovod says rank {hvd.rank()} of {hvd.size()}, the launcher rank {self.place.rank} of "
                f"{self.place.size}; another job has joined this one"
            )

    def reduce(self, gradients: list[Any]) -> list[Any]:
        """Average gradients over the ranks."""
        return average_gradients(gradients, compression=self.place.compression)

    def synchronise(self, model: keras.Model, optimizer: keras.Optimizer) -> None:
        """Broadcast rank 0's weights and optimizer state; shift the seeds of dropout by the rank."""
        broadcast_state(model, optimizer)
        for variable in _base.seed_variables(model):
            variable.value.assign_add(tf.constant([self.place.rank, 0], variable.value.dtype))

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value."""
        return hvd.allgather_object(value)

    def barrier(self, name: str) -> None:
        """Wait for all ranks."""
        hvd.allreduce(tf.zeros(1), name=f"dcbench_barrier_{name}")

    def average_statistics(self, model: keras.Model) -> None:
        """Average BatchNorm's moving statistics, which each rank measured on its own batches."""
        for variable in _base.statistics_variables(model):
            variable.value.assign(hvd.allreduce(variable.value.read_value(), op=hvd.Average))

    def check_weights(self, model: keras.Model, optimizer: keras.Optimizer) -> dict[str, Any]:
        """Compare digests of all variables between the ranks."""
        variables = _base.state_variables(model, optimizer)
        names = [v.path for v in variables]
        mine = [hashlib.sha256(v.value.numpy().tobytes()).hexdigest() for v in variables]
        digests = hvd.allgather_object(mine)
        if differing := _base.differences(names, digests):
            first = variables[names.index(differing[0])]
            apart = self._relative_difference(first)
            raise _base.CheckFailed(
                f"the {self.place.size} ranks hold different values of {', '.join(differing[:3])} ({len(differing)} of "
                f"{len(names)} variables; {first.path} by {apart:.1e} relative): their gradients were not averaged"
            )
        return {
            "weights": f"equal bit for bit on {self.place.size} ranks ({len(names)} variables)",
            "statistics": _base.statistics_note(model, self.place.size),
        }

    def _relative_difference(self, variable: Any) -> float:
        everyone = hvd.allgather_object(variable.value.numpy())
        scale = float(np.linalg.norm(everyone[0])) or 1.0
        return max(float(np.linalg.norm(other - everyone[0])) / scale for other in everyone)
