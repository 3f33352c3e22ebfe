"""The optimizer, learning rate and loss that a spec asks for; it knows nothing of devices or steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from dcbench.errors import SpecError
from dcbench.spec import RunSpec

_CLASSES = {
    name.lower(): getattr(keras.optimizers, name)
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion", "Ftrl")
}


@keras.saving.register_keras_serializable("dcbench")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """
    Linear warm-up from ``peak / devices`` to ``peak``, then constant, cosine or linear decay to zero.

    Parameters
    ----------
    peak : float
        Learning rate after warm-up.
    devices : int
    warmup_steps, total_steps : int
    schedule : {"constant", "cosine", "linear"}

    Notes
    -----
    Warm-up and linear scaling as in Goyal et al. 2017, "Accurate, Large Minibatch SGD", sections 2.1 and 2.2.
    """

    def __init__(self, peak: float, devices: int, warmup_steps: int, total_steps: int, schedule: str) -> None:
        self.peak, self.devices, self.warmup_steps = peak, devices, warmup_steps
        self.total_steps, self.schedule = total_steps, schedule

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of optimizer step `step` (0, 1, …)."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        rise = ops.minimum(step / max(self.warmup_steps, 1), 1.0) if self.warmup_steps else 1.0
        start = 1.0 / self.devices
        warm = self.peak * (start + (1.0 - start) * rise)
        done = (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
        done = ops.clip(done, 0.0, 1.0)
        if self.schedule == "cosine":
            return warm * 0.5 * (1.0 + ops.cos(math.pi * done))
        if self.schedule == "linear":
            return warm * (1.0 - done)
        return warm

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("peak", "devices", "warmup_steps", "total_steps", "schedule")
        return {n: getattr(self, n) for n in names}


def make_optimizer(spec: RunSpec, total_steps: int) -> keras.Optimizer:
    """
    Build the optimizer of a spec; for mixed_float16 inside a `LossScaleOptimizer`.

    Raises
    ------
    SpecError
        If ``optimizer_args`` do not fit the optimizer.
    """
    peak = spec.learning_rate * (spec.devices if spec.lr_scaling else 1)
    rate: Any = peak
    if spec.lr_warmup_steps or spec.lr_schedule != "constant":
        rate = LearningRate(peak, spec.devices, spec.lr_warmup_steps, total_steps, spec.lr_schedule)
    shared = ("clipnorm", "global_clipnorm", "clipvalue", "weight_decay")
    given = {n: getattr(spec, n) for n in shared if getattr(spec, n) is not None}
    for name in ("gradient_accumulation_steps", "learning_rate", *given):
        if name in spec.optimizer_args:
            raise SpecError(f"optimizer_args holds {name!r}; give it as a parameter of the run instead")
    if spec.backend == "mirrored" and spec.optimizer_args.get("ema_overwrite_frequency"):
        raise SpecError("ema_overwrite_frequency does not work inside MirroredStrategy; leave it out or use horovod")
    try:
        optimizer = _CLASSES[spec.optimizer](learning_rate=rate, **given, **spec.optimizer_args)
    except (TypeError, ValueError) as error:
        raise SpecError(f"optimizer {spec.optimizer!r} does not accept {spec.optimizer_args}: {error}") from error
    return keras.optimizers.LossScaleOptimizer(optimizer) if spec.precision == "mixed_float16" else optimizer


def make_loss(task: str, ends_in_softmax: bool) -> Callable[[Any, Any], Any]:
    """Return the mean loss of a task: cross-entropy for classification, mean squared error for regression.

    Keras's own mean divides by the number of replicas too; here each replica's loss is the mean of its examples.
    """
    loss: keras.losses.Loss = keras.losses.MeanSquaredError(reduction=None)
    if task == "classification":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not ends_in_softmax, reduction=None)

    def mean_loss(expected: Any, predicted: Any) -> Any:
        return keras.ops.mean(loss(expected, predicted))

    return mean_loss
