"""Horovod's optimizer and callbacks, made to work under Keras 3; they know nothing of dcbench's engine.

Horovod 0.28.1 overrides optimizer methods that Keras 3 never calls, so its own ``DistributedOptimizer`` trains
without an error and averages nothing. These do average, before clipping and before the overflow check of loss scaling.
"""

from __future__ import annotations

from typing import Any

import horovod.tensorflow as hvd
import keras
import tensorflow as tf

from dcbench.backends._base import merge_duplicates

COMPRESSIONS = {"none": hvd.Compression.none, "fp16": hvd.Compression.fp16}


def average_gradients(gradients: list[Any], compression: str = "none") -> list[Any]:
    """
    Average gradients over all ranks.

    Parameters
    ----------
    gradients : list of tf.Tensor, tf.IndexedSlices or None
    compression : {"none", "fp16"}
        What dense floating-point gradients are cast to on the wire.

    Returns
    -------
    list
        In the same order; dense ones by one grouped all-reduce, sparse ones by an all-gather. Duplicate indices of a
        sparse gradient are summed, on one rank too: Keras clips by a norm that would count them apart.
    """
    averaged = list(gradients)
    if hvd.size() == 1:
        return [merge_duplicates(g) for g in averaged]
    dense = [i for i, g in enumerate(gradients) if isinstance(g, tf.Tensor)]
    if dense:
        reduced = hvd.grouped_allreduce(
            [gradients[i] for i in dense], op=hvd.Average, compression=COMPRESSIONS[compression]
        )
        for i, gradient in zip(dense, reduced, strict=True):
            averaged[i] = gradient
    for i, gradient in enumerate(gradients):
        if isinstance(gradient, tf.IndexedSlices):
            averaged[i] = merge_duplicates(hvd.allreduce(gradient, op=hvd.Average))
    return averaged


def DistributedOptimizer(optimizer: keras.Optimizer, compression: str = "none") -> keras.Optimizer:  # noqa: N802
    """
    Make a Keras optimizer average its gradients over all ranks.

    Parameters
    ----------
    optimizer : keras.Optimizer
        A fresh optimizer, also a `LossScaleOptimizer`, also with ``gradient_accumulation_steps``.
    compression : {"none", "fp16"}
        Compression of dense gradients on the wire.

    Returns
    -------
    keras.Optimizer
        The same object, of a subclass that averages before clipping; with gradient accumulation only on the step
        that applies. Under loss scaling it averages before the overflow check, on every step. A saved model is
        reloaded with the plain optimizer: wrap that anew.

    Raises
    ------
    TypeError
        If it is not a Keras 3 optimizer.
    """
    base = type(optimizer)
    if not isinstance(optimizer, keras.Optimizer) or not hasattr(optimizer, "_clip_gradients"):
        raise TypeError(f"{optimizer!r} is not an optimizer of Keras 3; give one of keras.optimizers")
    if getattr(optimizer, "averages_over_ranks", False):
        raise TypeError(f"{base.__name__} averages over ranks already; wrap an optimizer once")

    class Averaging(base):  # type: ignore[misc, valid-type]
        averages_over_ranks = True

        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            if isinstance(self, keras.optimizers.LossScaleOptimizer):
                grads = average_gradients(list(grads), compression)
            return super().apply(grads, trainable_variables)

        def _clip_gradients(self, grads: Any) -> Any:
            return super()._clip_gradients(average_gradients(list(grads), compression))

    Averaging.__name__ = Averaging.__qualname__ = base.__name__
    Averaging.__module__ = base.__module__  # a saved model then loads as one with the plain optimizer
    optimizer.__class__ = Averaging
    return optimizer


def broadcast_state(model: keras.Model, optimizer: keras.Optimizer | None = None, root_rank: int = 0) -> None:
    """
    Give every rank the weights and the optimizer state of `root_rank`.

    Random states (dropout) are left alone: ranks with equal ones would all draw the same masks.
    """
    variables = list(model.weights)
    if optimizer is not None:
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        variables += list(optimizer.variables)
    values = {id(v): v.value for v in variables}.values()
    if hvd.size() > 1 and values:
        hvd.broadcast_variables(list(values), root_rank=root_rank, inplace=True)


class BroadcastState(keras.callbacks.Callback):
    """
    Broadcast weights and optimizer state from `root_rank` before the first batch of `fit`.

    Raises
    ------
    ValueError
        Before training, if the ranks have unlike numbers of batches: the one with most would wait for ever.
    """

    def __init__(self, root_rank: int = 0) -> None:
        super().__init__()
        self.root_rank = root_rank
        self._done = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Compare the ranks' batches; broadcast once, even where `fit` is called again."""
        _check_equal_batches((self.params or {}).get("steps"))
        if not self._done:
            broadcast_state(self.model, self.model.optimizer, self.root_rank)
            self._done = True


def _check_equal_batches(batches: int | None) -> None:
    """Refuse ranks with unlike batches an epoch; None, of a stream, is not known."""
    counts = hvd.allgather(tf.constant([-1 if batches is None else batches]), name="dcbench_batches").numpy().tolist()
    if len(set(counts)) > 1:
        said = ", ".join("unknown" if count < 0 else str(count) for count in counts)
        raise ValueError(
            f"the ranks have {said} batches an epoch, and one with more waits for ever for the "
            "others' gradients; give each rank as many examples"
        )


class MetricAverage(keras.callbacks.Callback):
    """Average the metrics of an epoch over all ranks; place it before callbacks that read them."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Replace each number in `logs` by its mean over ranks."""
        if logs and hvd.size() > 1:
            names = sorted(logs)
            local = tf.constant([float(logs[n]) for n in names], tf.float64)
            mean = hvd.allreduce(local, name="dcbench_metric_average", op=hvd.Average).numpy()
            logs.update({n: float(v) for n, v in zip(names, mean, strict=True)})


class LearningRateWarmup(keras.callbacks.Callback):
    """
    Raise the learning rate from ``target / size`` to ``target`` over the first steps.

    Parameters
    ----------
    target : float
        Learning rate after warm-up, already scaled by the number of ranks.
    steps : int
        Steps of warm-up.

    Notes
    -----
    Gradual warm-up as in Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.2.
    """

    def __init__(self, target: float, steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps={steps} of warm-up is not positive; leave the callback out for none")
        self.target, self.steps, self._step = target, steps, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set this step's learning rate."""
        if self._step <= self.steps:
            start = self.target / hvd.size()
            self.model.optimizer.learning_rate = start + (self.target - start) * self._step / self.steps
        self._step += 1
